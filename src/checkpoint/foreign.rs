//! Recognises files that are not models, such as Git LFS pointers and HTML pages, by their first bytes.

/// How many bytes [`format`] looks at.
pub const LOOKED_AT: usize = 1024;
/// What [`format`] calls JSON.
pub const JSON: &str = "a JSON file";
/// What it calls NumPy archives.
pub const NPZ: &str = "a NumPy archive (.npz)";

/// The kind of a file by its first bytes; `None` if it is not known or could be safetensors.
pub fn format(start: &[u8]) -> Option<&'static str> {
    let start = &start[..start.len().min(LOOKED_AT)];
    let begins = |magic: &[u8]| start.starts_with(magic);
    if start.is_empty() {
        return Some("an empty file");
    }
    if begins(b"version https://git-lfs.github.com/spec/") {
        return Some("a Git LFS pointer");
    }
    let binary: [(&[u8], &str); 12] = [
        (b"GGUF", "a GGUF file"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras)"),
        (b"\x93NUMPY", "a single NumPy array (.npy)"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"\x28\xb5\x2f\xfd", "a zstd archive"),
        (b"\xfd7zXZ\0", "an xz archive"),
        (b"\x89PNG\r\n", "an image"),
        (b"\xff\xd8\xff", "an image"),
        (b"RIFF", "an image"),
        (b"GIF8", "an image"),
        (b"%PDF", "a PDF document"),
    ];
    if let Some((_, name)) = binary.iter().find(|(magic, _)| begins(magic)) {
        return Some(name);
    }
    if begins(b"PK\x03\x04") || begins(b"PK\x05\x06") {
        return Some(zip(start));
    }
    // Pickles of protocol 2 and later. Old files of torch.save are several pickles in a row.
    if matches!(start, [0x80, 2..=5, ..]) {
        return Some(PICKLE);
    }
    if start.get(4..8) == Some(b"TFL3") {
        return Some("a TensorFlow Lite model");
    }
    if start.get(257..262) == Some(b"ustar") {
        return Some("a tar archive");
    }
    if is_onnx(start) {
        return Some("an ONNX model");
    }
    text(start)
}

const PICKLE: &str = "a Python pickle (PyTorch's .bin, .pt or .pth)";

/// The kind of a zip archive, by the name of its first member.
fn zip(start: &[u8]) -> &'static str {
    let length = start.get(26..28).map_or(0, |length| usize::from(u16::from_le_bytes([length[0], length[1]])));
    let name = start.get(30..30 + length).unwrap_or_default();
    let inside = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    if name.ends_with(b".npy") {
        NPZ
    } else if inside(b"/data.pkl") || inside(b"/byteorder") || inside(b"/.data/") || inside(b"/.format_version") {
        PICKLE
    } else {
        "a zip archive"
    }
}

/// A protobuf message whose first field is ONNX's small version number and whose second is one of the next fields of `ModelProto`.
fn is_onnx(start: &[u8]) -> bool {
    matches!(start, [0x08, 1..=30, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, more, ..] if *more != 0)
}

fn text(start: &[u8]) -> Option<&'static str> {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let lower = start[..start.len().min(64)].to_ascii_lowercase();
    if ["<!doctype html", "<html", "<head"].iter().any(|tag| lower.starts_with(tag.as_bytes())) {
        Some("an HTML page")
    } else if lower.starts_with(b"<?xml") || lower.starts_with(b"<error") {
        Some("an XML page")
    } else if matches!(start.first(), Some(b'{' | b'[')) {
        Some(JSON)
    } else {
        None
    }
}

/// Advice for a file of this format that was given as weights. It is the second half of the error message.
pub fn advice(format: &str) -> &'static str {
    match format {
        "a Git LFS pointer" => "not the weights: run git lfs pull",
        "an HTML page" | "an XML page" => "not the weights: download the file itself",
        JSON => "not the weights: name the folder, or the .safetensors file in it",
        PICKLE => {
            "which is never read, because it can run code: save the weights as safetensors (safetensors.torch.save_file)"
        }
        _ => "and weights are read as safetensors or .npz",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_told_by_its_content() {
        let zip = |name: &str| {
            let mut bytes = b"PK\x03\x04".to_vec();
            bytes.resize(26, 0);
            bytes.extend([name.len() as u8, 0, 0, 0]);
            bytes.extend(name.as_bytes());
            bytes
        };
        for (bytes, want) in [
            (b"".to_vec(), "an empty file"),
            (b"version https://git-lfs.github.com/spec/v1\noid".to_vec(), "a Git LFS pointer"),
            (b"GGUF\x03\0\0\0".to_vec(), "a GGUF file"),
            (b"\n <!DOCTYPE html><html>".to_vec(), "an HTML page"),
            (b"\xef\xbb\xbf{\"model_type\": 1}".to_vec(), JSON),
            (b"\x08\x0a\x12\x07pytorch\x1a".to_vec(), "an ONNX model"),
            (b"\x80\x02\x8a\x0al\xfc".to_vec(), PICKLE),
            (zip("archive/data.pkl"), PICKLE),
            (zip("pos_embed.npy"), NPZ),
            (zip("readme.txt"), "a zip archive"),
            (b"PK".to_vec(), ""),
            (b"\x10\0\0\0\0\0\0\0{\"a\": 1}".to_vec(), ""),
            (b"\x08\x0a\x12\0\0\0\0\0{".to_vec(), ""),
        ] {
            assert_eq!(format(&bytes).unwrap_or_default(), want, "{bytes:?}");
        }
    }
}
