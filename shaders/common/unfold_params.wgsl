// Parameters of the unfold kernels, and the pixel that an output value comes from. The same as UnfoldParams in src/gpu/kernels/.

struct Params {
    len: u32,     // output values
    chans: u32,
    height: u32,  // of the image
    width: u32,
    ph: u32,      // of a patch
    pw: u32,
    grid_h: u32,  // patches per column
    grid_w: u32,  // patches per row
}

struct Pixel {
    image: u32,
    c: u32,
    y: u32,
    x: u32,
}

// The pixel for the output index (b, patch, c, py, px).
fn pixel_of(at: u32) -> Pixel {
    let px = at % params.pw;
    let py = at / params.pw % params.ph;
    let c = at / (params.pw * params.ph) % params.chans;
    let cell = at / (params.pw * params.ph * params.chans);
    let per_image = params.grid_h * params.grid_w;
    let in_image = cell % per_image;
    return Pixel(cell / per_image, c, in_image / params.grid_w * params.ph + py, in_image % params.grid_w * params.pw + px);
}
