//! `--labels`: classes that are described in words.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use vit_gpu::internals::TEMPLATE;
use vit_gpu::{Error, Session, ZeroShot};

use super::Failure;
use super::head::HeadOptions;

/// Labels in place of the classes of a model's head.
#[derive(clap::Args)]
pub struct LabelOptions {
    /// Choose among these labels, separated by commas, with a model of images and texts (CLIP, SigLIP)
    #[arg(long, value_name = "LABEL,…", conflicts_with = "labels_file")]
    labels: Option<String>,
    /// Choose among the labels in this file, one on each line
    #[arg(long, value_name = "FILE")]
    labels_file: Option<PathBuf>,
    /// Put each label into this text in place of {}; given several times, the labels' vectors are averaged [default: "This is a
    /// photo of {}."]
    #[arg(long = "template", value_name = "TEXT")]
    templates: Vec<String>,
}

/// The labels, and the texts that they are put into.
pub struct Labels {
    labels: Vec<String>,
    templates: Vec<String>,
}

impl LabelOptions {
    /// The labels, if there are any.
    ///
    /// # Errors
    /// [`Failure::Usage`] if there are none where there should be, or a head as well, which has classes of its own; [`Error::Io`] for a file that can't be read.
    pub fn read(&self, head: &HeadOptions) -> Result<Option<Labels>, Failure> {
        let usage = |reason: &str| Err(Failure::Usage(reason.to_owned()));
        let trimmed = |label: &str| Some(label.trim()).filter(|label| !label.is_empty()).map(str::to_owned);
        let (labels, option): (Vec<String>, _) = match (&self.labels, &self.labels_file) {
            (Some(labels), _) => (labels.split(',').filter_map(trimmed).collect(), "--labels"),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.clone(), source })?;
                (text.lines().filter_map(trimmed).collect(), "--labels-file")
            }
            (None, None) if self.templates.is_empty() => return Ok(None),
            (None, None) => return usage("--template needs --labels or --labels-file"),
        };
        if labels.is_empty() {
            return usage(&format!("{option} names no label"));
        }
        if let Some(template) = self.templates.iter().find(|template| !template.contains("{}")) {
            return usage(&format!("--template {template:?} has no {{}} for the label"));
        }
        let templates = if self.templates.is_empty() { vec![TEMPLATE.to_owned()] } else { self.templates.clone() };
        if head.head.is_some() {
            return usage("--head and --labels name classes each: give one of them");
        }
        Ok(Some(Labels { labels, templates }))
    }
}

impl Labels {
    /// Embeds the labels.
    pub fn embed(&self, session: &Session) -> vit_gpu::Result<ZeroShot> {
        ZeroShot::with_templates(session.clone(), &self.labels, &self.templates)
    }

    /// What rows depend on, the text half's weights among it. Reads them all.
    pub fn options(&self, session: &Session) -> vit_gpu::Result<BTreeMap<String, String>> {
        let shown = |values: &[String], what: &str| match values.join(",") {
            short if short.len() <= 200 => short,
            long => format!("{} {what} (SHA-256 {:.16})", values.len(), hex(&Sha256::digest(long))),
        };
        Ok(BTreeMap::from([
            ("--labels".to_owned(), shown(&self.labels, "labels")),
            ("--template".to_owned(), shown(&self.templates, "templates")),
            ("the model's text half".to_owned(), format!("{:.16}", session.checkpoint().text_fingerprint()?)),
        ]))
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
