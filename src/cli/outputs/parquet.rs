//! Parquet files, made from JSON lines when all rows are there, because a Parquet file can't be read before it is whole.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int32Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use serde::Deserialize;
use serde::de::DeserializeOwned;

const CLASSES: &str = "message schema {
    required binary image (STRING);
    optional int32 rank;
    optional int32 index;
    optional binary label (STRING);
    optional float score;
    optional binary error (STRING);
}";

const EMBEDDINGS: &str = "message schema {
    required binary NAME (STRING);
    optional group embedding (LIST) { repeated group list { required float element; } }
    optional binary error (STRING);
}";

/// How many rows, and how many values in all their lists, a row group may have: what is in memory at a time. Small groups keep
/// memory flat, however many images there are.
const GROUP_ROWS: usize = 1 << 11;
const GROUP_VALUES: usize = 1 << 17;

#[derive(Deserialize)]
struct Line {
    #[serde(alias = "text")]
    image: String,
    error: Option<String>,
    #[serde(default)]
    predictions: Vec<Class>,
    embedding: Option<Values>,
}

#[derive(Deserialize)]
struct Class {
    index: i32,
    label: Option<String>,
    score: f32,
}

/// A list of values, or lists within a list, which are joined.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Numbers(Vec<f32>),
    Lists(Vec<Values>),
}

impl Values {
    fn join(self, out: &mut Vec<f32>) {
        match self {
            Values::Numbers(numbers) => out.extend(numbers),
            Values::Lists(lists) => lists.into_iter().for_each(|list| list.join(out)),
        }
    }
}

/// A column: values of the rows that have one, and each row's definition level.
struct Column<T> {
    values: Vec<T>,
    levels: Vec<i16>,
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Column { values: Vec::new(), levels: Vec::new() }
    }
}

impl<T> Column<T> {
    fn push(&mut self, value: Option<T>) {
        self.levels.push(i16::from(value.is_some()));
        self.values.extend(value);
    }

    /// Writes the next column of a group and empties this one.
    fn write<D: DataType<T = T>>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, File>,
        optional: bool,
    ) -> io::Result<()> {
        let levels = optional.then_some(&self.levels[..]);
        write::<D>(group, &self.values, levels, None)?;
        *self = Column::default();
        Ok(())
    }
}

fn write<D: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[D::T],
    definitions: Option<&[i16]>,
    repetitions: Option<&[i16]>,
) -> io::Result<()> {
    let mut column = group.next_column()?.ok_or_else(|| io::Error::other("the schema has fewer columns"))?;
    column.typed::<D>().write_batch(values, definitions, repetitions)?;
    Ok(column.close()?)
}

fn text(text: impl AsRef<str>) -> ByteArray {
    text.as_ref().as_bytes().to_vec().into()
}

fn open(out: File, schema: &str, about: &[(&str, &str)]) -> io::Result<SerializedFileWriter<File>> {
    let about = about.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), (*value).to_owned())).collect();
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        // No two vectors have values in common that a dictionary could share.
        .set_column_dictionary_enabled("embedding.list.element".into(), false)
        // The writer keeps the statistics of every page until the end, although nobody looks for rows by them.
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_key_value_metadata(Some(about));
    Ok(SerializedFileWriter::new(out, Arc::new(parse_message_type(schema)?), Arc::new(properties.build()))?)
}

fn lines<T: DeserializeOwned>(rows: File) -> impl Iterator<Item = io::Result<T>> {
    BufReader::new(rows).lines().map(|line| Ok(serde_json::from_str(&line?)?))
}

/// The rows of `classify`: one for each class of an image, or one with its error.
pub fn classes(rows: File, out: File, about: &[(&str, &str)]) -> io::Result<()> {
    let mut file = open(out, CLASSES, about)?;
    let (mut image, mut label, mut error) = (Column::default(), Column::default(), Column::default());
    let (mut rank, mut index, mut score) = (Column::default(), Column::default(), Column::default());
    let mut lines = lines::<Line>(rows).peekable();
    while let Some(line) = lines.next().transpose()? {
        let empty = line.predictions.is_empty();
        let name = text(line.image);
        for (i, class) in line.predictions.into_iter().enumerate() {
            image.push(Some(name.clone()));
            rank.push(Some(i as i32 + 1));
            index.push(Some(class.index));
            label.push(class.label.map(text));
            score.push(Some(class.score));
            error.push(None);
        }
        if empty {
            image.push(Some(name));
            rank.push(None);
            index.push(None);
            label.push(None);
            score.push(None);
            error.push(line.error.map(text));
        }
        if image.values.len() >= GROUP_ROWS || lines.peek().is_none() {
            let mut group = file.next_row_group()?;
            image.write::<ByteArrayType>(&mut group, false)?;
            rank.write::<Int32Type>(&mut group, true)?;
            index.write::<Int32Type>(&mut group, true)?;
            label.write::<ByteArrayType>(&mut group, true)?;
            score.write::<FloatType>(&mut group, true)?;
            error.write::<ByteArrayType>(&mut group, true)?;
            group.close()?;
        }
    }
    file.close()?;
    Ok(())
}

/// The rows of `embed`: one for each image or text (`kind`), with its values as one list, or its error.
pub fn embeddings(kind: &str, rows: File, out: File, about: &[(&str, &str)]) -> io::Result<()> {
    let mut file = Embeddings::open(kind, out, about)?;
    for line in lines::<Line>(rows) {
        let line = line?;
        let values = line.embedding.map(|embedding| {
            let mut values = Vec::new();
            embedding.join(&mut values);
            values
        });
        file.push(&line.image, values.as_deref(), line.error)?;
    }
    file.finish()
}

/// A file of vectors that is written row by row.
pub struct Embeddings {
    file: SerializedFileWriter<File>,
    image: Column<ByteArray>,
    error: Column<ByteArray>,
    values: Vec<f32>,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

impl Embeddings {
    pub fn open(kind: &str, out: File, about: &[(&str, &str)]) -> io::Result<Embeddings> {
        let file = open(out, &EMBEDDINGS.replace("NAME", kind), about)?;
        let (image, error) = (Column::default(), Column::default());
        Ok(Embeddings { file, image, error, values: Vec::new(), definitions: Vec::new(), repetitions: Vec::new() })
    }

    pub fn push(&mut self, name: &str, values: Option<&[f32]>, error: Option<String>) -> io::Result<()> {
        self.image.push(Some(text(name)));
        self.error.push(error.map(text));
        match values {
            Some(values) => {
                self.values.extend(values);
                self.definitions.resize(self.definitions.len() + values.len(), 2);
                self.repetitions.push(0);
                self.repetitions.resize(self.definitions.len(), 1);
            }
            None => {
                self.definitions.push(0);
                self.repetitions.push(0);
            }
        }
        if self.image.values.len() >= GROUP_ROWS || self.values.len() >= GROUP_VALUES { self.group() } else { Ok(()) }
    }

    /// Writes what is there as a group of rows.
    fn group(&mut self) -> io::Result<()> {
        let mut group = self.file.next_row_group()?;
        self.image.write::<ByteArrayType>(&mut group, false)?;
        write::<FloatType>(&mut group, &self.values, Some(&self.definitions), Some(&self.repetitions))?;
        self.error.write::<ByteArrayType>(&mut group, true)?;
        group.close()?;
        (self.values, self.definitions, self.repetitions) = (Vec::new(), Vec::new(), Vec::new());
        Ok(())
    }

    pub fn finish(mut self) -> io::Result<()> {
        if !self.image.values.is_empty() {
            self.group()?;
        }
        self.file.close()?;
        Ok(())
    }
}
