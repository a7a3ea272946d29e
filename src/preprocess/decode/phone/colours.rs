//! From brightness and two differences of colour to red, green and blue (ITU-T H.273), rounded as the libraries round through
//! which Pillow reads these files.

use super::super::decoded::Refusal;

/// How brightness and colour were computed from red, green and blue.
#[derive(Clone, Copy, PartialEq)]
pub enum Matrix {
    /// The planes are green, blue and red.
    Identity,
    /// Differences of green and orange.
    GreenOrange,
    /// Brightness is a sum of red and blue with these weights, and green with what remains.
    Weights {
        /// The weight of red.
        red: f32,
        /// The weight of blue.
        blue: f32,
    },
}

impl Matrix {
    /// The matrix of a number in H.273; some depend on the primaries.
    pub fn of(matrix: u16, primaries: u16) -> Result<Matrix, Refusal> {
        let (red, blue) = match matrix {
            0 => return Ok(Matrix::Identity),
            8 => return Ok(Matrix::GreenOrange),
            1 => (0.2126, 0.0722),
            4 => (0.30, 0.11),
            7 => (0.212, 0.087),
            9 => (0.2627, 0.0593),
            12 => return Ok(Matrix::of_primaries(primaries)),
            2 | 3 | 5 | 6 => (0.299, 0.114),
            _ => return Err(format!("its colours are of kind {matrix} in ITU-T H.273, which is not supported").into()),
        };
        Ok(Matrix::Weights { red, blue })
    }

    /// The weights that follow from primaries: the share of each in white's brightness.
    fn of_primaries(primaries: u16) -> Matrix {
        // Red, green, blue and white on the plane of colours.
        let [(rx, ry), (gx, gy), (bx, by), (wx, wy)] = match primaries {
            1 => [(0.64, 0.33), (0.3, 0.6), (0.15, 0.06), (0.3127, 0.329)],
            4 => [(0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.31, 0.316)],
            5 => [(0.64, 0.33), (0.29, 0.6), (0.15, 0.06), (0.3127, 0.329)],
            6 | 7 => [(0.63, 0.34), (0.31, 0.595), (0.155, 0.07), (0.3127, 0.329)],
            8 => [(0.681, 0.319), (0.243, 0.692), (0.145, 0.049), (0.31, 0.316)],
            9 => [(0.708, 0.292), (0.17, 0.797), (0.131, 0.046), (0.3127, 0.329)],
            11 => [(0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.314, 0.351)],
            12 => [(0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.3127, 0.329)],
            22 => [(0.63, 0.34), (0.295, 0.605), (0.155, 0.077), (0.3127, 0.329)],
            _ => return Matrix::Weights { red: 0.299, blue: 0.114 },
        };
        let (rz, gz, bz, wz) = (1.0 - (rx + ry), 1.0 - (gx + gy), 1.0 - (bx + by), 1.0 - (wx + wy));
        let over = wy * (rx * (gy * bz - by * gz) + gx * (by * rz - ry * bz) + bx * (ry * gz - gy * rz));
        let red = ry * (wx * (gy * bz - by * gz) + wy * (bx * gz - gx * bz) + wz * (gx * by - bx * gy)) / over;
        let blue = by * (wx * (ry * gz - gy * rz) + wy * (gx * rz - rx * gz) + wz * (rx * gy - gx * ry)) / over;
        Matrix::Weights { red, blue }
    }
}

/// A conversion of samples to red, green and blue.
pub struct Conversion {
    matrix: Matrix,
    /// What red has of the red difference, green of blue's and red's, and blue of blue's.
    shares: [f32; 4],
    /// The same with 8 bits after the point.
    whole: [i32; 4],
}

impl Conversion {
    /// The conversion that undoes a matrix.
    pub fn new(matrix: Matrix) -> Conversion {
        let shares = match matrix {
            Matrix::Weights { red, blue } => {
                let (green, of_red, of_blue) = (1.0 - red - blue, 2.0 * (1.0 - red), 2.0 * (1.0 - blue));
                [of_red, -of_blue * blue / green, -of_red * red / green, of_blue]
            }
            _ => [0.0; 4],
        };
        Conversion { matrix, shares, whole: shares.map(|share| (share * 256.0).round() as i32) }
    }

    /// Red, green and blue from a sample of each plane, of 8 bits and with their full range, as libheif computes them.
    pub fn whole(&self, [brightness, blue, red]: [i32; 3]) -> [u8; 3] {
        let (blue, red) = (blue - 128, red - 128);
        let [red_red, green_blue, green_red, blue_blue] = self.whole;
        let shares = [red_red * red, green_blue * blue + green_red * red, blue_blue * blue];
        shares.map(|share| (brightness + ((share + 128) >> 8)).clamp(0, 255) as u8)
    }

    /// Red, green and blue from a sample of each plane, as libheif computes them, with its factors for samples that use a
    /// part of their range only.
    pub fn float(&self, samples: [i32; 3], depth: u32, full: bool) -> [u8; 3] {
        let (of_brightness, of_colour, from) = if full { (1.0, 1.0, 0) } else { (1.1689, 1.1429, 16 << (depth - 8)) };
        let middle = if self.matrix == Matrix::Identity { from } else { 1 << (depth - 1) };
        let [brightness, blue, red] = samples;
        let brightness = (brightness - from) as f32 * of_brightness;
        let mixed = self.mixed(brightness, (blue - middle) as f32 * of_colour, (red - middle) as f32 * of_colour);
        let most = ((1u32 << depth) - 1) as f32;
        mixed.map(|value| ((value + 0.5).clamp(0.0, most) as u32 >> (depth - 8)) as u8)
    }

    /// Red, green and blue, in the unit of brightness and differences.
    pub fn mixed(&self, brightness: f32, blue: f32, red: f32) -> [f32; 3] {
        let [red_red, green_blue, green_red, blue_blue] = self.shares;
        match self.matrix {
            Matrix::Identity => [red, brightness, blue],
            Matrix::GreenOrange => [brightness - blue + red, brightness + blue, brightness - blue - red],
            Matrix::Weights { .. } => {
                let green = brightness + green_blue * blue + green_red * red;
                [brightness + red_red * red, green, brightness + blue_blue * blue]
            }
        }
    }
}
