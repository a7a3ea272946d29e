//! What to do about an error, in terms of this program's options.

use std::path::Path;

use vit_gpu::{Error, HubFault};

/// The error, and what would help where that is known.
pub fn with_hint(error: &Error) -> String {
    match hint(error) {
        Some(hint) => format!("{error}: {hint}"),
        None => error.to_string(),
    }
}

fn hint(error: &Error) -> Option<String> {
    match error {
        Error::ImageSize { .. } => Some("--image-size makes both the same".to_owned()),
        Error::NoText { .. } => Some("name a CLIP or SigLIP model of images and texts with --model".to_owned()),
        Error::NoHead { .. } => {
            Some("`vit-gpu embed` gives its pooled vectors, and `vit-gpu probe` trains a --head for it".to_owned())
        }
        Error::Precision { precision, available, .. } => {
            let device = if *precision == "i8" { "--device cpu, or " } else { "" };
            Some(format!("use {device}--precision {}", available.join(" or ")))
        }
        Error::Kernels { precision: Some(precision), .. } => Some(format!("add --precision {precision}")),
        Error::Hub { name, fault: HubFault::Pickled { file }, .. } => Some(unpickled(name, file)),
        Error::Hub { fault: HubFault::NotFound, .. } => Some("`vit-gpu models` lists the short names".to_owned()),
        // It may have been meant as a path.
        Error::Hub { name, fault: HubFault::Unreachable | HubFault::Offline, .. } => {
            (!Path::new(name).exists()).then(|| "no file or folder has this name either".to_owned())
        }
        Error::NoDevice { .. } => Some("`vit-gpu devices` lists what there is".to_owned()),
        _ => None,
    }
}

/// Two lines of Python, ready to be copied.
fn unpickled(name: &str, file: &str) -> String {
    let repo = name.split('@').next().unwrap_or(name);
    let (to, config) = match file {
        "adapter_model.bin" => ("adapter_model.safetensors", "the adapter's adapter_config.json"),
        _ => ("model.safetensors", "the model's config.json"),
    };
    format!(
        "these two lines of Python write them as safetensors, to be put beside {config}
    weights = torch.load(huggingface_hub.hf_hub_download(\"{repo}\", \"{file}\"), weights_only=True)
    safetensors.torch.save_file({{k: v.contiguous().clone() for k, v in weights.items()}}, \"{to}\")"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_options_of_this_program() {
        let error = Error::Precision { device: "GPU".into(), precision: "i8", available: &["f32", "f16"] };
        let want = "GPU: it can't compute in i8, only in f32 or f16: use --device cpu, or --precision f32 or f16";
        assert_eq!(with_hint(&error), want);
        let error = Error::ImageSize { file: "a".into(), preprocessed: (2, 3), model: (4, 5) };
        assert!(with_hint(&error).ends_with("the model takes 4x5: --image-size makes both the same"));
        let fault = HubFault::Pickled { file: "pytorch_model.bin".into() };
        let told = with_hint(&Error::Hub { name: "a/b@main".into(), fault, reason: "only pickles".into() });
        assert!(told.starts_with("a/b@main: only pickles: these two lines of Python") && told.lines().count() == 3);
        assert!(told.contains("hf_hub_download(\"a/b\", \"pytorch_model.bin\"), weights_only=True)"), "{told}");
        assert_eq!(with_hint(&Error::Model { file: "a".into(), reason: "b".into() }), "a: b");
    }
}
