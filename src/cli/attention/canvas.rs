//! A picture to draw on: pixels, text, PNG.

use std::io;

use font8x8::{BASIC_FONTS, UnicodeFonts};

/// Height and width of a character.
pub const CHARACTER: usize = 8;

/// RGB pixels, row by row.
pub struct Canvas {
    pub width: usize,
    pub height: usize,
    data: Vec<u8>,
}

impl Canvas {
    /// A picture of one colour.
    pub fn new(width: usize, height: usize, colour: [u8; 3]) -> Canvas {
        Canvas { width, height, data: colour.repeat(width * height) }
    }

    /// Sets a pixel; one outside is left out.
    pub fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        if x < self.width && y < self.height {
            let at = 3 * (y * self.width + x);
            self.data[at..at + 3].copy_from_slice(&colour);
        }
    }

    /// Writes text from its upper left corner on, each character `scale` times as large as the font has it. What the font lacks
    /// is a question mark.
    pub fn text(&mut self, (x, y): (usize, usize), scale: usize, text: &str, colour: [u8; 3]) {
        for (number, character) in text.chars().enumerate() {
            let glyph = BASIC_FONTS.get(character).or_else(|| BASIC_FONTS.get('?')).unwrap_or_default();
            for (row, bits) in glyph.iter().enumerate() {
                for col in (0..CHARACTER).filter(|col| bits >> col & 1 == 1) {
                    for (dy, dx) in (0..scale).flat_map(|dy| (0..scale).map(move |dx| (dy, dx))) {
                        self.set(x + (number * CHARACTER + col) * scale + dx, y + row * scale + dy, colour);
                    }
                }
            }
        }
    }

    /// The bytes of a PNG file.
    pub fn png(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.data)?;
        writer.finish()?;
        Ok(bytes)
    }
}
