/* Names what is in images: classify MODEL|- DEVICE IMAGE… */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vit_gpu.h"

#define TOP_K 3

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, vit_gpu_error());
    return 1;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: %s MODEL|- DEVICE IMAGE...\n", argv[0]);
        return 2;
    }
    const char *model = strcmp(argv[1], "-") == 0 ? NULL : argv[1];
    vit_gpu_session *session = vit_gpu_open(model, argv[2], NULL);
    if (session == NULL) {
        return fail(argv[1]);
    }
    fprintf(stderr, "vit-gpu %s on %s\n", vit_gpu_version(), vit_gpu_device(session));
    size_t classes = vit_gpu_num_classes(session);
    float *logits = malloc(classes * sizeof *logits);
    int failed = 0;
    for (int i = 3; i < argc && logits != NULL; i++) {
        vit_gpu_image *image = vit_gpu_image_open(argv[i]);
        if (image == NULL) {
            failed = fail(argv[i]);
            continue;
        }
        vit_gpu_prediction best[TOP_K];
        size_t count = 0;
        if (vit_gpu_classify(session, image, TOP_K, best, &count) != VIT_GPU_OK) {
            failed = fail(argv[i]);
        }
        for (size_t k = 0; k < count; k++) {
            printf("%s\t%zu\t%s\t%.9g\n", argv[i], best[k].index, best[k].label, best[k].score);
        }
        const vit_gpu_image *images[] = {image};
        if (count > 0 && vit_gpu_logits(session, images, 1, logits, classes) == VIT_GPU_OK) {
            for (size_t k = 0; k < classes; k++) {
                printf("%s%.9g", k == 0 ? "logits " : " ", logits[k]);
            }
            printf("\n");
        }
        vit_gpu_image_free(image);
    }
    free(logits);
    vit_gpu_close(session);
    return failed;
}
