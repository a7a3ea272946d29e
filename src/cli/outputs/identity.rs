//! What the rows of a results file were made with.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use vit_gpu::Session;

use super::super::inputs::Input;

/// Everything that rows depend on. Two runs with the same identity write the same rows.
#[derive(Serialize, Deserialize)]
pub struct Identity {
    program: String,
    model: String,
    device: String,
    precision: String,
    options: BTreeMap<String, String>,
    /// A digest of the names, sizes and times of all images, and how many there are.
    images: (String, usize),
}

impl Identity {
    pub fn of(session: &Session, options: BTreeMap<String, String>, inputs: &[Input]) -> vit_gpu::Result<Identity> {
        let mut digest = Sha256::new();
        for input in inputs {
            let metadata = input.path().metadata().ok();
            let modified = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
            let seconds = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            digest.update(input.name_bytes());
            digest.update(format!("\0{:?} {seconds:?}\0", metadata.map(|metadata| metadata.len())));
        }
        let digest = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Identity {
            program: concat!("vit-gpu ", env!("CARGO_PKG_VERSION")).to_owned(),
            model: session.checkpoint().fingerprint()?,
            device: session.device().to_owned(),
            precision: session.precision().name().to_owned(),
            options,
            images: (digest, inputs.len()),
        })
    }

    /// In which way rows made with `now` would differ from those made with `self`.
    pub fn difference(&self, now: &Identity) -> Option<String> {
        let changed =
            |what: &str, was: &str, is: &str| (was != is).then(|| format!("{what} was {was}, and is {is} now"));
        changed("the program", &self.program, &now.program)
            .or_else(|| (self.model != now.model).then(|| "it was made with another model".to_owned()))
            .or_else(|| changed("the device", &self.device, &now.device))
            .or_else(|| changed("the precision", &self.precision, &now.precision))
            .or_else(|| {
                let unset =
                    |options: &BTreeMap<String, String>, name| options.get(name).cloned().unwrap_or("not given".into());
                let names = self.options.keys().chain(now.options.keys());
                names.map(|name| changed(name, &unset(&self.options, name), &unset(&now.options, name))).find_map(|c| c)
            })
            .or_else(|| changed("the number of images", &self.images.1.to_string(), &now.images.1.to_string()))
            .or_else(|| {
                (self.images.0 != now.images.0).then(|| "other images were given, or some have changed".to_owned())
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            program: "vit-gpu 1".into(),
            model: "m".into(),
            device: "cpu".into(),
            precision: "f32".into(),
            options: BTreeMap::from([("--top-k".into(), "5".into())]),
            images: ("abc".into(), 3),
        }
    }

    #[test]
    fn the_first_difference_is_named() {
        let difference = |change: &dyn Fn(&mut Identity)| {
            let mut now = identity();
            change(&mut now);
            identity().difference(&now)
        };
        assert_eq!(difference(&|_| {}), None);
        assert_eq!(difference(&|now| now.model = "n".into()).unwrap(), "it was made with another model");
        let options = |now: &mut Identity| drop(now.options.insert("--top-k".into(), "3".into()));
        assert_eq!(difference(&options).unwrap(), "--top-k was 5, and is 3 now");
        let options = |now: &mut Identity| drop(now.options.insert("--normalize".into(), "given".into()));
        assert_eq!(difference(&options).unwrap(), "--normalize was not given, and is given now");
        assert_eq!(difference(&|now| now.images.1 = 4).unwrap(), "the number of images was 3, and is 4 now");
        assert!(difference(&|now| now.images.0 = "d".into()).unwrap().contains("other images"));
    }
}
