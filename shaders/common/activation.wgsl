// Activation functions by number. The numbers and formulas are those of src/ops/activation.rs.

override ACTIVATION: u32 = 0u;

fn sigmoid4(x: vec4<f32>) -> vec4<f32> {
    // The exponent is bounded so that nothing overflows: infinities are unreliable under fast math.
    return 1.0 / (1.0 + exp(min(-x, vec4(80.0))));
}

// x·Φ(x) = relu(x) − |x|/2·erfc(|x|/√2), erfc by Abramowitz and Stegun 7.1.26 (absolute error below 1.5e-7).
fn gelu4(x: vec4<f32>) -> vec4<f32> {
    let z = abs(x) * 0.70710678;
    let t = 1.0 / (1.0 + 0.3275911 * z);
    let poly = t * (0.2548296 + t * (-0.28449672 + t * (1.4214138 + t * (-1.453152 + t * 1.0614054))));
    return max(x, vec4(0.0)) - 0.5 * abs(x) * poly * exp(-z * z);
}

fn activate4(x: vec4<f32>) -> vec4<f32> {
    switch ACTIVATION {
        case 1u: { return gelu4(x); }
        case 2u: { return x * sigmoid4(1.5957691 * (x + 0.044715 * x * x * x)); }
        case 3u: { return x * sigmoid4(1.702 * x); }
        // Not `max`, which may turn a NaN into 0.
        case 4u: { return select(x, vec4(0.0), x <= vec4(0.0)); }
        // Beyond ±10 tanh is ±1 in f32; the bound keeps drivers that compute it through exp from overflowing.
        case 5u: { return select(tanh(clamp(x, vec4(-10.0), vec4(10.0))), x, x != x); }
        case 6u: { return x * sigmoid4(x); }
        default: { return x; }
    }
}
