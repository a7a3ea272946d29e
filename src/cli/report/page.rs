//! The page: one HTML file that needs nothing else, neither other files nor the network.

use std::fmt::{Display, Write};
use std::path::Path;

use vit_gpu::Error;
use vit_gpu::insight::metrics::{Average, Figures, Means};

use super::plots::{matrix, reliability};
use super::several::Several;
use super::thumbnails::thumbnail;
use super::{About, MANY, Report, Row, named};

/// How many of the worst mistakes are shown.
const WORST: usize = 24;
/// The longer side of their pictures, in pixels.
const SIDE: usize = 128;

const STYLE: &str = "
:root { color-scheme: light dark; --text: #1a1c1f; --back: #ffffff; --soft: #5c636b; --line: #d5d9de; --panel: #f4f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e8eaed; --back: #16181b; --soft: #a2a9b1; --line: #3a3f45; --panel: #1f2226; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child, .left { text-align: left; }
dl { display: grid; grid-template-columns: max-content auto; gap: .1rem 1.2rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.figures { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0; }
.figure { background: var(--panel); border-radius: .5rem; padding: .6rem 1rem; }
.figure b { display: block; font-size: 1.35rem; } .figure span { color: var(--soft); }
.wide { overflow-x: auto; } svg { max-width: none; } p { color: var(--soft); margin: .3rem 0 .8rem; }
.photos { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1rem; }
figure { margin: 0; font-size: .85rem; overflow-wrap: anywhere; } figure img { display: block; border-radius: .25rem; margin-bottom: .3rem; }
figcaption span { color: var(--soft); display: block; }
";

/// Text within HTML.
pub fn escaped(text: impl Display) -> String {
    let text = text.to_string();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn heading(out: &mut String, title: &str, about: &str) {
    let _ = write!(out, "<h2>{}</h2>\n<p>{}</p>\n", escaped(title), escaped(about));
}

/// What a page has, for each kind of report.
pub trait Sections {
    fn about(&self) -> (&About, usize);
    fn figures(&self) -> Vec<(&'static str, String)>;
    fn sections(&self, out: &mut String) -> Result<(), Box<dyn std::error::Error>>;
}

/// Writes a report as a page.
pub fn write(path: &Path, report: &dyn Sections) -> vit_gpu::Result<()> {
    let failed = |source| Error::Io { path: path.to_path_buf(), source };
    let page = page(report).map_err(|error| failed(std::io::Error::other(error.to_string())))?;
    std::fs::write(path, page).map_err(failed)
}

fn page(report: &dyn Sections) -> Result<String, Box<dyn std::error::Error>> {
    let (about, images) = report.about();
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>Evaluation</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>Evaluation</h1>\n<dl>\n"
    );
    let count = [("images", about.images(images))];
    for (name, value) in about.facts.iter().chain(&count) {
        writeln!(out, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value))?;
    }
    out += "</dl>\n<div class=\"figures\">\n";
    for (name, value) in report.figures() {
        writeln!(out, "<div class=\"figure\"><b>{}</b><span>{}</span></div>", escaped(value), escaped(name))?;
    }
    out += "</div>\n";
    report.sections(&mut out)?;
    if !about.failed.is_empty() {
        heading(&mut out, "Images without a result", "They count for no figure.");
        out += "<ul>\n";
        about.failed.iter().try_for_each(|(_, error)| writeln!(out, "<li>{}</li>", escaped(error)))?;
        out += "</ul>\n";
    }
    Ok(out + "</body>\n</html>\n")
}

impl Sections for Report<'_> {
    fn about(&self) -> (&About, usize) {
        (&self.about, self.judged.len())
    }

    fn figures(&self) -> Vec<(&'static str, String)> {
        self.whole()
    }

    fn sections(&self, out: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let classes = self.confusion.classes();
        if classes.len() <= MANY {
            heading(
                out,
                "Confusion matrix",
                "Rows are the right classes, columns the predicted ones; numbers are images.",
            );
            writeln!(out, "<div class=\"wide\">{}</div>", matrix(&self.confusion, &classes, self.classes)?)?;
        } else {
            let all = format!("There are {} classes, too many for a matrix.", classes.len());
            heading(out, "Most often confused", &all);
            out.push_str("<table><tr><th>right class</th><th class=\"left\">predicted</th><th>images</th><th>of the class</th></tr>\n");
            for (class, predicted, count, share) in self.mistakes() {
                let (class, predicted) = (escaped(class), escaped(predicted));
                let share = 100.0 * share;
                writeln!(
                    out,
                    "<tr><td>{class}</td><td class=\"left\">{predicted}</td><td>{count}</td><td>{share:.1} %</td></tr>"
                )?;
            }
            out.push_str("</table>\n");
        }
        let about = "Bars: how often predictions of a confidence are right. On the line, they are right as often as they say. Dots: the mean confidence of each bar.";
        heading(out, "Reliability", about);
        writeln!(out, "<div class=\"wide\">{}</div>", reliability(&self.bins)?)?;
        self.worst(out)?;
        let (figures, note) = self.listed();
        heading(out, "Classes", &note.map_or(String::new(), |note| format!("{note}.")));
        Ok(table(out, &figures, &self.confusion.means())?)
    }
}

impl Report<'_> {
    /// Pictures of the mistakes with the highest loss.
    fn worst(&self, out: &mut String) -> std::fmt::Result {
        let mut wrong: Vec<usize> = (0..self.judged.len()).filter(|i| self.judged[*i].rank > 0).collect();
        if wrong.is_empty() {
            return Ok(());
        }
        wrong.sort_by(|a, b| self.judged[*b].loss.total_cmp(&self.judged[*a].loss).then(a.cmp(b)));
        wrong.truncate(WORST);
        heading(out, "Worst mistakes", "The images whose right class was given the lowest score.");
        out.push_str("<div class=\"photos\">\n");
        for i in wrong {
            let (judged, input) = (&self.judged[i], self.images[i]);
            let picture = match thumbnail(input, &self.reading, SIDE) {
                Ok((address, width, height)) => {
                    format!("<img src=\"{address}\" width=\"{width}\" height=\"{height}\" alt=\"\">")
                }
                // It was there when it was run.
                Err(error) => escaped(error),
            };
            let (class, predicted) = (self.classes.shown(judged.class), self.classes.shown(judged.predicted));
            let (score, right) = (100.0 * judged.confidence, 100.0 * (-judged.loss).exp());
            writeln!(
                out,
                "<figure>{picture}<figcaption><b>{}</b> taken for {}<span>{right:.1} % against {score:.1} %</span><span>{}</span></figcaption></figure>",
                escaped(class),
                escaped(predicted),
                escaped(input.name())
            )?;
        }
        out.push_str("</div>\n");
        Ok(())
    }
}

impl Sections for Several<'_> {
    fn about(&self) -> (&About, usize) {
        (&self.about, self.images)
    }

    fn figures(&self) -> Vec<(&'static str, String)> {
        self.whole()
    }

    fn sections(&self, out: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let (rows, note) = self.listed();
        heading(out, "Labels", &note.map_or(String::new(), |note| format!("{note}.")));
        Ok(table(out, &rows, &self.figures.means)?)
    }
}

fn table(out: &mut String, rows: &[Row], means: &Means) -> std::fmt::Result {
    let extra = rows.iter().any(|row| row.average_precision.is_some());
    let title = if extra { "<th>average precision</th>" } else { "" };
    writeln!(out, "<table><tr><th>class</th><th>precision</th><th>recall</th><th>F1</th><th>images</th>{title}</tr>")?;
    for Row { name, figures, average_precision } in rows {
        let Figures { precision, recall, f1, support } = figures;
        let extra = average_precision.as_ref().map_or(String::new(), |extra| format!("<td>{}</td>", escaped(extra)));
        let name = escaped(name);
        writeln!(
            out,
            "<tr><td>{name}</td><td>{precision:.4}</td><td>{recall:.4}</td><td>{f1:.4}</td><td>{support}</td>{extra}</tr>"
        )?;
    }
    for (name, Average { precision, recall, f1 }) in named(means) {
        let empty = if extra { "<td></td>" } else { "" };
        writeln!(
            out,
            "<tr><td>{name} mean</td><td>{precision:.4}</td><td>{recall:.4}</td><td>{f1:.4}</td><td></td>{empty}</tr>"
        )?;
    }
    writeln!(out, "</table>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_not_become_tags() {
        assert_eq!(escaped("<b onclick=\"x\">&"), "&lt;b onclick=&quot;x&quot;&gt;&amp;");
    }
}
