//! CIELab to sRGB.

/// Converts colours of eight bits a sample.
pub struct Converter {
    /// Whether a and b are stored as they are, not with their sign bit turned.
    planar: bool,
}

impl Converter {
    /// Where the samples lie in planes, Pillow forgets that a and b have signs.
    pub fn new(planar: bool) -> Converter {
        Converter { planar }
    }

    /// The colour of a pixel.
    pub fn rgb(&self, [lightness, a, b]: [u8; 3]) -> [u8; 3] {
        let signed = |value: u8| f64::from(if self.planar { value } else { value ^ 0x80 }) - 128.0;
        let fy = (f64::from(lightness) * 100.0 / 255.0 + 16.0) / 116.0;
        let (fx, fz) = (fy + signed(a) / 500.0, fy - signed(b) / 200.0);
        let cubed = |f: f64| if f > 24.0 / 116.0 { f * f * f } else { (108.0 / 841.0) * (f - 16.0 / 116.0) };
        // White of the light D50, and sRGB's primaries adapted to it.
        let (x, y, z) = (cubed(fx) * 0.9642, cubed(fy), cubed(fz) * 0.8249);
        let linear = [
            3.1338561 * x - 1.6168667 * y - 0.4906146 * z,
            -0.9787684 * x + 1.9161415 * y + 0.0334540 * z,
            0.0719453 * x - 0.2289914 * y + 1.4052427 * z,
        ];
        linear.map(|value| {
            let value = value.clamp(0.0, 1.0);
            let coded = if value <= 0.0031308 { 12.92 * value } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 };
            (coded * 255.0 + 0.5) as u8
        })
    }
}
