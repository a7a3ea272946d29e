//! AVIF: pictures in AV1, with the colours that libavif gives, through which Pillow reads them.

use super::super::decoded::{Decoded, Refusal};
use super::av1;
use super::colours::{Conversion, Matrix};
use super::container::Container;
use super::planes::{self, Colours, Planes, interpolate};
use super::yuv::Constants;

/// Decodes the primary picture. What the file says of rotation becomes the orientation, as Pillow makes it EXIF's; EXIF's
/// own is ignored, and so is a clean aperture.
pub fn decode(container: &Container) -> Result<Decoded, Refusal> {
    let item = container.shown();
    match container.kind(item) {
        Some(b"av01" | b"grid") => {}
        Some(kind) => return Err(format!("its picture is of the kind '{}', not AV1", kind.escape_ascii()).into()),
        None => return Err("it has no still picture".into()),
    }
    if !container.references(item, b"prem").is_empty() {
        return Err("its colours are multiplied by its alpha, which is not supported".into());
    }
    let picture = planes::decode(container, item, |item, size| one(container, item, size))?;
    let tiles = container.references(item, b"dimg").first();
    let named = [item].iter().chain(tiles).find_map(|&item| container.colours(item));
    let named = named.map(|(primaries, matrix, full)| Colours { primaries, matrix, full });
    let colours = named.or(picture.colours).unwrap_or(Colours { primaries: 2, matrix: 2, full: true });
    let (width, height) = (picture.width(), picture.height());
    let rgb = rgb(&picture, colours, has_alpha(container, item))?;
    Ok(Decoded { width, height, rgb, orientation: orientation(container, item) })
}

/// Decodes one item of the kind `av01`.
fn one(container: &Container, item: u32, size: (usize, usize)) -> Result<Planes, Refusal> {
    if container.kind(item) != Some(b"av01") {
        return Err("one of its tiles is not AV1".into());
    }
    // All layers but the last are previews; 0xffff asks for the last one too.
    let layer = container.property(item, b"lsel").and_then(|mut body| body.uint(2));
    if layer.is_some_and(|layer| layer != 0xffff) {
        return Err("it shows one layer of its picture, which is not supported".into());
    }
    let point = container.property(item, b"a1op").and_then(|mut body| body.uint(1)).unwrap_or(0);
    av1::decode(&container.data(item)?, size, point as u8 & 31)
}

/// How the picture is to be turned, as EXIF numbers it: rotated against the clock first, then mirrored.
fn orientation(container: &Container, item: u32) -> Option<u8> {
    let quarters = container.property(item, b"irot").and_then(|mut body| body.uint(1)).map_or(0, |byte| byte & 3);
    let sideways = container.property(item, b"imir").and_then(|mut body| body.uint(1)).map(|byte| byte & 1 == 1);
    Some(match (quarters, sideways) {
        (0, None) => return None,
        (1, None) => 8,
        (2, None) => 3,
        (_, None) => 6,
        (0, Some(true)) | (2, Some(false)) => 2,
        (0, Some(false)) | (2, Some(true)) => 4,
        (1, Some(true)) | (3, Some(false)) => 7,
        (_, Some(_)) => 5,
    })
}

/// Whether another picture says how opaque this one is. It is not decoded, but libavif computes the colours of such pictures
/// in another way.
fn has_alpha(container: &Container, item: u32) -> bool {
    let kinds = [&b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"[..], b"urn:mpeg:hevc:2015:auxid:1"];
    container.referring(item, b"auxl").any(|other| {
        let named = container.property(other, b"auxC").and_then(|body| body.0.get(4..));
        named.is_some_and(|named| kinds.iter().any(|kind| named.starts_with(kind)))
    })
}

/// Converts as libavif does: the frequent matrices through libyuv, others in floats.
fn rgb(picture: &Planes, colours: Colours, alpha: bool) -> Result<Vec<u8>, Refusal> {
    let matrix = Matrix::of(colours.matrix, colours.primaries)?;
    if picture.planes.len() == 1 {
        let constants = Constants::of(colours).filter(|_| alpha);
        let (cut, range) = (picture.depth - 8, Range::of(picture.depth, colours.full));
        let grey = |&sample: &u16| match constants {
            Some(constants) => constants.grey(sample >> cut),
            None => eight(range.brightness(sample)),
        };
        return Ok(picture.planes[0].samples.iter().flat_map(|sample| [grey(sample); 3]).collect());
    }
    if matrix == Matrix::Identity && picture.shifts != (0, 0) {
        return Err("its planes are red, green and blue, but not of one size".into());
    }
    Ok(match Constants::of(colours) {
        Some(constants) => constants.rgb(picture, alpha),
        None => floats(picture, matrix, colours.full),
    })
}

/// Where brightness and differences of colour begin, and how far they reach.
struct Range {
    brightness: (f32, f32),
    colour: (f32, f32),
}

impl Range {
    fn of(depth: u32, full: bool) -> Range {
        let (step, most) = ((1u32 << (depth - 8)) as f32, ((1u32 << depth) - 1) as f32);
        let middle = 128.0 * step;
        match full {
            true => Range { brightness: (0.0, most), colour: (middle, most) },
            false => Range { brightness: (16.0 * step, 219.0 * step), colour: (middle, 224.0 * step) },
        }
    }

    fn brightness(&self, sample: u16) -> f32 {
        (f32::from(sample) - self.brightness.0) / self.brightness.1
    }

    fn colour(&self, sample: u16) -> f32 {
        (f32::from(sample) - self.colour.0) / self.colour.1
    }
}

/// A value from 0 to 1 in 8 bits.
fn eight(value: f32) -> u8 {
    (0.5 + value.clamp(0.0, 1.0) * 255.0) as u8
}

/// Converts a picture of three planes in floats.
fn floats(picture: &Planes, matrix: Matrix, full: bool) -> Vec<u8> {
    let mut range = Range::of(picture.depth, full);
    if matrix == Matrix::Identity {
        range.colour = range.brightness;
    }
    let conversion = Conversion::new(matrix);
    let width = picture.width();
    let mut rgb = Vec::with_capacity(width * picture.height() * 3);
    let (mut blue, mut red) = (vec![0; width], vec![0; width]);
    for y in 0..picture.height() {
        interpolate(&picture.planes[1], picture.shifts, 0, y, &mut blue);
        interpolate(&picture.planes[2], picture.shifts, 0, y, &mut red);
        for (x, &sample) in picture.planes[0].row(y).iter().enumerate() {
            let mixed = conversion.mixed(range.brightness(sample), range.colour(blue[x]), range.colour(red[x]));
            rgb.extend(mixed.map(eight));
        }
    }
    rgb
}
