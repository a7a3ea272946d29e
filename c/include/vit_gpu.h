/* The C interface of vit-gpu. Made by cbindgen: see docs/c.md. */

#ifndef VIT_GPU_H
#define VIT_GPU_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

// Everything was done.
#define VIT_GPU_OK 0

// An image can't be read, or its result is not finite.
#define VIT_GPU_IMAGE 1

// An argument, the model or the device is at fault.
#define VIT_GPU_FAILED 2

// An image: RGB pixels. Threads may share one.
typedef struct vit_gpu_image vit_gpu_image;

// A model on a device. Threads may share one.
typedef struct vit_gpu_session vit_gpu_session;

// A class of an image.
typedef struct vit_gpu_prediction {
    // The class, counted from 0.
    size_t index;
    // What the model's library would show: a probability, or the value of a regression.
    float score;
    // The class's name, which the session keeps until it is closed; the empty text if it has none.
    const char *label;
} vit_gpu_prediction;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// This library's version.
const char *vit_gpu_version(void);

// Why the last call of this thread failed, as one line of UTF-8; the empty text if it did not. It is there until the thread's
// next call.
const char *vit_gpu_error(void);

// Opens a model on a device; `vit_gpu_close` ends it.
//
// `model` is a folder or a file, or a name on the Hugging Face Hub, which is downloaded unless the cache has it; null is the small
// model within the library. `device` is `auto`, `gpu`, `cpu` or a part of an adapter's name; null is `auto`. `precision` is
// `f32`, `f16` or `i8`; null is `f32`. Null is returned if it fails.
//
// # Safety
// Each argument is null or a text that ends with a zero byte.
struct vit_gpu_session *vit_gpu_open(const char *model,
                                     const char *device,
                                     const char *precision);

// Ends a session; null is left alone.
//
// # Safety
// `session` is null or of `vit_gpu_open`, and is not used after this.
void vit_gpu_close(struct vit_gpu_session *session);

// The adapter's name, or `cpu`. The session keeps the text.
//
// # Safety
// `session` is of `vit_gpu_open` and not closed.
const char *vit_gpu_device(const struct vit_gpu_session *session);

// How many classes the model has; 0 without a head, or if `session` is null.
//
// # Safety
// `session` is null, or of `vit_gpu_open` and not closed.
size_t vit_gpu_num_classes(const struct vit_gpu_session *session);

// The name of a class, which the session keeps; the empty text if it has none, null if there is no such class.
//
// # Safety
// `session` is of `vit_gpu_open` and not closed.
const char *vit_gpu_label(const struct vit_gpu_session *session,
                          size_t index);

// Values of an embedding; 0 if `session` is null.
//
// # Safety
// `session` is null, or of `vit_gpu_open` and not closed.
size_t vit_gpu_embedding_dim(const struct vit_gpu_session *session);

// Reads an image file, turned as its EXIF orientation says; `vit_gpu_image_free` ends it. Null if it can't be read.
//
// # Safety
// `path` is a text that ends with a zero byte.
struct vit_gpu_image *vit_gpu_image_open(const char *path);

// Decodes the `len` bytes of an image file, turned as its EXIF orientation says; `vit_gpu_image_free` ends it. Null if they can't
// be decoded.
//
// # Safety
// `bytes` are `len` bytes.
struct vit_gpu_image *vit_gpu_image_decode(const uint8_t *bytes,
                                           size_t len);

// An image of `width` times `height` pixels, three bytes each (red, green, blue), rows from the top; they are copied.
// `vit_gpu_image_free` ends it. Null if there are none, or too many.
//
// # Safety
// `rgb` are `3 * width * height` bytes.
struct vit_gpu_image *vit_gpu_image_rgb(const uint8_t *rgb,
                                        size_t width,
                                        size_t height);

// Ends an image; null is left alone.
//
// # Safety
// `image` is null or of one of the functions above, and is not used after this.
void vit_gpu_image_free(struct vit_gpu_image *image);

// The classes with the highest scores, best first: as many as `top_k` and the model have. Their number is written to `count`.
//
// # Safety
// `session` and `image` are open, `out` has room for `top_k` predictions, and `count` for a number.
int32_t vit_gpu_classify(const struct vit_gpu_session *session,
                         const struct vit_gpu_image *image,
                         size_t top_k,
                         struct vit_gpu_prediction *out,
                         size_t *count);

// The logits of images, `vit_gpu_num_classes` values each, one image after another, into `out`, which has `len` values. If one
// image has no result, none has.
//
// # Safety
// `session` is open, `images` are `count` open images, and `out` has room for `len` values.
int32_t vit_gpu_logits(const struct vit_gpu_session *session,
                       const struct vit_gpu_image *const *images,
                       size_t count,
                       float *out,
                       size_t len);

// The embeddings of images, `vit_gpu_embedding_dim` values each, one image after another, into `out`, which has `len` values. If
// one image has no result, none has.
//
// # Safety
// `session` is open, `images` are `count` open images, and `out` has room for `len` values.
int32_t vit_gpu_embed(const struct vit_gpu_session *session,
                      const struct vit_gpu_image *const *images,
                      size_t count,
                      float *out,
                      size_t len);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* VIT_GPU_H */
