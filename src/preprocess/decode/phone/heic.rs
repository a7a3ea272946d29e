//! HEIC: pictures in HEVC, with the colours that libheif gives, through which Pillow reads them.

use heic_decoder::HeifError;
use heic_decoder::hevc::nal::NAL_SPS;
use heic_decoder::hevc::params::{Sps, parse_sps};
use heic_decoder::isobmff::{HevcDecoderConfig, HevcNalArray, ResolvedImage};

use super::super::decoded::{Decoded, Refusal};
use super::colours::{Conversion, Matrix};
use super::container::{Bytes, Container};
use super::planes::{self, Colours, Plane, Planes};

/// Items that are the same picture as another item may be so in a row of at most this length.
const LONGEST_CHAIN: usize = 8;

/// Decodes the primary picture, cropped and turned as the file says. EXIF's orientation is ignored, as pillow-heif ignores
/// it, because writers leave it there after they have turned the picture by the file's own properties.
pub fn decode(container: &Container) -> Result<Decoded, Refusal> {
    let mut item = container.shown();
    let mut chain = vec![item];
    while container.kind(item) == Some(b"iden") && chain.len() < LONGEST_CHAIN {
        item = *container.references(item, b"dimg").first().ok_or("its picture refers to no other")?;
        chain.push(item);
    }
    match container.kind(item) {
        Some(b"hvc1" | b"grid") => {}
        Some(kind) => return Err(format!("its picture is of the kind '{}', not HEVC", kind.escape_ascii()).into()),
        None => return Err("it has no still picture".into()),
    }
    let mut picture = planes::decode(container, item, |item, size| one(container, item, size))?;
    let tiles = container.references(item, b"dimg").first();
    let named = chain.iter().chain(tiles).find_map(|&item| container.colours(item));
    let named = named.map(|(primaries, matrix, full)| Colours { primaries, matrix, full });
    let colours = named.or(picture.colours).unwrap_or(Colours { primaries: 2, matrix: 2, full: false });
    for &item in chain.iter().rev() {
        picture = turned(container, item, picture)?;
    }
    rgb(&picture, colours)
}

/// Applies the properties of an item that crop, rotate and mirror, in the file's order.
fn turned(container: &Container, item: u32, mut picture: Planes) -> Result<Planes, Refusal> {
    for (kind, mut body) in container.properties(item) {
        picture = match kind {
            b"irot" => {
                let quarters = body.uint(1).unwrap_or(0) as u8 & 3;
                movable(picture, quarters).rotated(quarters)
            }
            b"imir" => {
                let sideways = body.uint(1).unwrap_or(0) & 1 == 1;
                movable(picture, 2).mirrored(sideways)
            }
            b"clap" => {
                let wrong = "its clean aperture is not within the picture";
                let (left, width) = aperture(picture.width(), body.0, 0).ok_or(wrong)?;
                let (top, height) = aperture(picture.height(), body.0, 8).ok_or(wrong)?;
                // A colour's sample that belongs to two pixels can't be cut through.
                let within = left % 2 == 1 || top % 2 == 1 && picture.shifts.1 == 1;
                let picture = if within { picture.interpolated() } else { picture };
                picture.cropped(left, top, width, height)
            }
            _ => picture,
        };
    }
    Ok(picture)
}

/// The picture in a form whose planes can be moved one by one. If a colour's sample belongs to two pixels and the size is
/// odd, or the pixels beside each other come to lie above each other, colours are interpolated first.
fn movable(picture: Planes, quarters: u8) -> Planes {
    let odd = (picture.width() % 2 == 1, picture.height() % 2 == 1);
    let apart = match (picture.shifts, quarters) {
        ((0, 0), _) | (_, 0) => false,
        ((1, 1), 1) => odd.0,
        ((1, 1), 3) => odd.1,
        ((1, 1), _) => odd.0 || odd.1,
        (_, 2) => odd.0,
        _ => true,
    };
    if apart { picture.interpolated() } else { picture }
}

/// Start and length of the clean aperture along one axis. The box holds fractions: two sizes, then two distances of the
/// aperture's centre from the picture's.
fn aperture(whole: usize, body: &[u8], at: usize) -> Option<(usize, usize)> {
    let number = |at: usize| Some(i128::from(Bytes(body.get(at..)?).uint(4)? as u32 as i32));
    let (size, size_over, offset, offset_over) = (number(at)?, number(at + 4)?, number(at + 16)?, number(at + 20)?);
    if size <= 0 || size_over <= 0 || offset_over <= 0 {
        return None;
    }
    let (whole, over) = (whole as i128, 2 * size_over * offset_over);
    let size = size / size_over;
    let start = ((whole - size) * size_over * offset_over + 2 * offset * size_over).div_euclid(over);
    (size > 0 && start >= 0 && start + size <= whole).then_some((start as usize, size as usize))
}

/// Decodes one item of the kind `hvc1`.
fn one(container: &Container, item: u32, (width, height): (usize, usize)) -> Result<Planes, Refusal> {
    if container.kind(item) != Some(b"hvc1") {
        return Err("one of its tiles is not HEVC".into());
    }
    if !container.references(item, b"pred").is_empty() {
        return Err("its picture is predicted from others, which is not supported".into());
    }
    let head = container.property(item, b"hvcC").and_then(configuration);
    let hevc_config = head.ok_or("the parameters of its codec are damaged")?;
    let parameters = hevc_config.nalus_of_type(NAL_SPS).next().ok_or("the parameters of its codec are missing")?;
    let unescaped = heic_decoder::bitreader::strip_emulation_prevention(parameters.get(2..).unwrap_or(&[]));
    let parameters = parse_sps(&unescaped).map_err(refused)?;
    // The codec works in blocks of at most 64 pixels. A larger difference would get around the check of the file's own size.
    let coded = [parameters.pic_width_in_luma_samples as usize, parameters.pic_height_in_luma_samples as usize];
    if coded[0] > width + 64 || coded[1] > height + 64 {
        return Err("its picture is larger than it says".into());
    }
    let image = ResolvedImage { hevc_config, data: container.data(item)?.into_owned() };
    let (parameters, picture) = heic_decoder::decode_one_image(&image).map_err(refused)?;
    let picture = uncovered(&parameters, picture)?;
    if (picture.width(), picture.height()) != (width, height) {
        return Err("its picture has not the size that the file says".into());
    }
    Ok(picture)
}

fn refused(error: HeifError) -> Refusal {
    Refusal::by(error)
}

/// The part of a decoded picture that is meant to be seen.
fn uncovered(parameters: &Sps, picture: heic_decoder::hevc::ctu::Picture) -> Result<Planes, Refusal> {
    let shifts = match parameters.chroma_format_idc {
        1 => (1, 1),
        2 => (1, 0),
        _ => (0, 0),
    };
    let colours = parameters.color_info.map(|found| Colours {
        primaries: found.color_primaries,
        matrix: found.matrix_coefficients,
        full: found.full_range,
    });
    let depth = parameters.bit_depth_luma;
    let mut found = vec![picture.y];
    if parameters.chroma_format_idc != 0 {
        if parameters.bit_depth_chroma != depth {
            return Err("its colours have another depth than its brightness, which is not supported".into());
        }
        found.extend([picture.cb, picture.cr]);
    }
    let plane = |plane: heic_decoder::hevc::ctu::Plane| {
        let (width, height) = (plane.width, plane.height);
        let samples = plane.into_samples().into_iter().map(|sample| sample as u16).collect();
        Plane { width, height, samples }
    };
    let planes = Planes { depth, colours, shifts, planes: found.into_iter().map(plane).collect() };
    let [left, right, top, bottom] = parameters.conformance_window.map(|size| size as usize);
    let width = planes.width().checked_sub(left.saturating_add(right)).filter(|&width| width > 0);
    let height = planes.height().checked_sub(top.saturating_add(bottom)).filter(|&height| height > 0);
    let (Some(width), Some(height)) = (width, height) else {
        return Err("nothing of its picture is to be seen".into());
    };
    Ok(planes.cropped(left, top, width, height))
}

/// The property `hvcC`: the parameters of the codec, which stand before all pictures.
fn configuration(mut body: Bytes) -> Option<HevcDecoderConfig> {
    body.take(21)?;
    let length_size_minus_one = body.uint(1)? as u8 & 3;
    let mut arrays = Vec::new();
    for _ in 0..body.uint(1)? {
        let nal_unit_type = body.uint(1)? as u8 & 63;
        let count = body.uint(2)?;
        let mut unit = || {
            let length = body.uint(2)? as usize;
            Some(body.take(length)?.to_vec())
        };
        let nalus = (0..count).map(|_| unit()).collect::<Option<_>>()?;
        arrays.push(HevcNalArray { nal_unit_type, nalus });
    }
    Some(HevcDecoderConfig { length_size_minus_one, arrays, ..HevcDecoderConfig::default() })
}

/// Converts as libheif does: each colour sample is repeated for all its pixels. The most frequent kind of file is cut to 8 bits
/// first and computed in whole numbers; others are computed in floats and then cut.
fn rgb(picture: &Planes, colours: Colours) -> Result<Decoded, Refusal> {
    let (width, height, cut) = (picture.width(), picture.height(), picture.depth - 8);
    let mut rgb = Vec::with_capacity(width * height * 3);
    let [brightness, blue, red] = &picture.planes[..] else {
        rgb.extend(picture.planes[0].samples.iter().flat_map(|&sample| [(sample >> cut) as u8; 3]));
        return Ok(Decoded { width, height, rgb, orientation: None });
    };
    // What is not specified is sRGB's.
    let matrix = if colours.matrix == 2 { 6 } else { colours.matrix };
    let whole = colours.full && picture.shifts == (1, 1) && !matches!(matrix, 0 | 8);
    let conversion = Conversion::new(Matrix::of(matrix, colours.primaries)?);
    let (across, down) = picture.shifts;
    for y in 0..height {
        let (blue, red) = (blue.row(y >> down), red.row(y >> down));
        for (x, &sample) in brightness.row(y).iter().enumerate() {
            let samples = [sample, blue[x >> across], red[x >> across]];
            rgb.extend(match whole {
                true => conversion.whole(samples.map(|sample| i32::from(sample >> cut))),
                false => conversion.float(samples.map(i32::from), picture.depth, colours.full),
            });
        }
    }
    Ok(Decoded { width, height, rgb, orientation: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_apertures_lie_within_the_picture() {
        let clap = |numbers: [i32; 8]| numbers.map(i32::to_be_bytes).concat();
        let centred = clap([100, 1, 80, 1, 0, 1, 0, 1]);
        assert_eq!((aperture(200, &centred, 0), aperture(140, &centred, 8)), (Some((50, 100)), Some((30, 80))));
        let moved = clap([101, 1, 81, 1, 1, 2, -3, 2]);
        assert_eq!((aperture(200, &moved, 0), aperture(140, &moved, 8)), (Some((50, 101)), Some((28, 81))));
        let outside = clap([100, 1, 80, 1, 51, 1, -31, 1]);
        assert_eq!((aperture(200, &outside, 0), aperture(140, &outside, 8)), (None, None));
        for wrong in
            [[0, 1, 80, 1, 0, 1, 0, 1], [100, 0, 80, 1, 0, 1, 0, 1], [100, 1, 80, 1, 0, 0, 0, 1], [i32::MAX; 8]]
        {
            assert!(aperture(200, &clap(wrong), 0).is_none_or(|(start, length)| start + length <= 200), "{wrong:?}");
        }
        assert_eq!(aperture(200, &centred[..20], 0), None);
    }

    #[test]
    fn planes_turn_and_mirror_as_pictures_do() {
        let plane = Plane { width: 2, height: 3, samples: vec![1, 2, 3, 4, 5, 6] };
        let picture = || Planes { depth: 8, colours: None, shifts: (0, 0), planes: vec![plane.clone()] };
        let samples = |picture: Planes| (picture.width(), picture.planes.into_iter().next().unwrap().samples);
        assert_eq!(samples(picture().rotated(1)), (3, vec![2, 4, 6, 1, 3, 5]));
        assert_eq!(samples(picture().rotated(2)), (2, vec![6, 5, 4, 3, 2, 1]));
        assert_eq!(samples(picture().rotated(3)), (3, vec![5, 3, 1, 6, 4, 2]));
        assert_eq!(samples(picture().mirrored(true)), (2, vec![2, 1, 4, 3, 6, 5]));
        assert_eq!(samples(picture().mirrored(false)), (2, vec![5, 6, 3, 4, 1, 2]));
        assert_eq!(samples(picture().cropped(1, 1, 1, 2)), (1, vec![4, 6]));
    }
}
