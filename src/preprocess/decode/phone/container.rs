//! The boxes of a HEIF file (ISO/IEC 14496-12 and 23008-12), of which HEIC and AVIF are two kinds: which pictures are in
//! it, where their bytes are, and what is said of them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::decoded::Refusal;

/// The four letters that name a kind of box, item, property or reference.
pub type Kind = [u8; 4];

/// What is said of a file whose boxes contradict each other or end too early.
const DAMAGED: &str = "its boxes are damaged or cut off";

/// The pictures of a file.
pub struct Container<'a> {
    file: &'a [u8],
    /// The bytes of the box `idat`, where small items may be.
    inline: &'a [u8],
    /// The item that is to be shown first.
    primary: u32,
    items: BTreeMap<u32, Item>,
    properties: Vec<(Kind, &'a [u8])>,
    references: Vec<Reference>,
}

/// A picture, or a rule that makes one from others.
#[derive(Default)]
struct Item {
    kind: Kind,
    /// Whether its bytes are in `idat`, not anywhere in the file.
    inline: bool,
    /// An offset and a length for each piece; the length 0 means all that follows.
    pieces: Vec<(u64, u64)>,
    /// Indices of its properties, in the order in which they apply.
    properties: Vec<usize>,
}

struct Reference {
    kind: Kind,
    from: u32,
    to: Vec<u32>,
}

/// A picture that is made of equal tiles.
pub struct Grid {
    /// Tiles from the top.
    pub rows: usize,
    /// Tiles from the left.
    pub columns: usize,
    /// Width in pixels; tiles may reach beyond it.
    pub width: usize,
    /// Height in pixels; tiles may reach beyond it.
    pub height: usize,
    /// The items of the tiles, row by row.
    pub tiles: Vec<u32>,
}

impl<'a> Container<'a> {
    /// Reads the boxes of a file, but no picture.
    pub fn read(file: &'a [u8]) -> Result<Container<'a>, Refusal> {
        let meta = boxes(file).find(|(kind, _)| kind == b"meta");
        let (_, meta) = meta.ok_or("it has no still picture, only a sequence, or its boxes are damaged")?;
        Container::from_meta(file, meta).ok_or(DAMAGED.into())
    }

    fn from_meta(file: &'a [u8], meta: &'a [u8]) -> Option<Container<'a>> {
        let mut found = Container {
            file,
            inline: &[],
            primary: 0,
            items: BTreeMap::new(),
            properties: Vec::new(),
            references: Vec::new(),
        };
        for (kind, body) in boxes(meta.get(4..)?) {
            let mut body = Bytes(body);
            match &kind {
                b"pitm" => {
                    let version = body.version()?;
                    found.primary = body.id(version >= 1)?;
                }
                b"iinf" => {
                    let long = body.version()? >= 1;
                    body.take(if long { 4 } else { 2 })?;
                    boxes(body.0).filter(|(kind, _)| kind == b"infe").try_for_each(|(_, entry)| found.entry(entry))?;
                }
                b"iloc" => found.locations(body)?,
                b"idat" => found.inline = body.0,
                b"iref" => {
                    let long = body.version()? >= 1;
                    boxes(body.0).try_for_each(|(kind, entry)| found.reference(kind, entry, long))?;
                }
                b"iprp" => {
                    for (kind, body) in boxes(body.0) {
                        match &kind {
                            b"ipco" => found.properties.extend(boxes(body)),
                            b"ipma" => found.associations(Bytes(body))?,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Some(found)
    }

    /// `infe`: the kind of an item.
    fn entry(&mut self, entry: &[u8]) -> Option<()> {
        let mut entry = Bytes(entry);
        let version = entry.version()?;
        if version >= 2 {
            let id = entry.id(version >= 3)?;
            entry.take(2)?;
            self.items.entry(id).or_default().kind = entry.kind()?;
        }
        Some(())
    }

    /// `iloc`: where the bytes of items are.
    fn locations(&mut self, mut body: Bytes<'a>) -> Option<()> {
        let version = body.version()?;
        let sizes = body.uint(2)? as usize;
        let (offset_size, length_size, base_size) = (sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15);
        let index_size = if version >= 1 { sizes & 15 } else { 0 };
        let count = body.id(version >= 2)?;
        for _ in 0..count {
            let id = body.id(version >= 2)?;
            let method = if version >= 1 { body.uint(2)? & 15 } else { 0 };
            body.take(2)?;
            let base = body.uint(base_size)?;
            let pieces = body.uint(2)?;
            let item = self.items.entry(id).or_default();
            item.inline = method == 1;
            for _ in 0..pieces {
                body.take(index_size)?;
                let offset = base.checked_add(body.uint(offset_size)?)?;
                let piece = (offset, body.uint(length_size)?);
                // Other methods count from other items; no camera uses them.
                if method <= 1 {
                    item.pieces.push(piece);
                }
            }
        }
        Some(())
    }

    /// A box in `iref`: that an item is made from others, or describes them.
    fn reference(&mut self, kind: Kind, entry: &[u8], long: bool) -> Option<()> {
        let mut entry = Bytes(entry);
        let from = entry.id(long)?;
        let count = entry.uint(2)?;
        let to = (0..count).map(|_| entry.id(long)).collect::<Option<_>>()?;
        self.references.push(Reference { kind, from, to });
        Some(())
    }

    /// `ipma`: which properties items have.
    fn associations(&mut self, mut body: Bytes<'a>) -> Option<()> {
        let head = body.uint(4)?;
        let (version, long) = (head >> 24, head & 1 == 1);
        for _ in 0..body.uint(4)? {
            let id = body.id(version >= 1)?;
            let count = body.uint(1)?;
            let item = self.items.entry(id).or_default();
            for _ in 0..count {
                // The first bit says whether readers must know the property. Counted from 1; 0 is none.
                let index = if long { body.uint(2)? & 0x7fff } else { body.uint(1)? & 0x7f } as usize;
                item.properties.extend(index.checked_sub(1));
            }
        }
        Some(())
    }

    /// The item that a viewer shows: the primary one, but not a thumbnail, even if the file says so.
    pub fn shown(&self) -> u32 {
        *self.references(self.primary, b"thmb").first().unwrap_or(&self.primary)
    }

    /// The kind of an item, if there is one of that number.
    pub fn kind(&self, item: u32) -> Option<&Kind> {
        self.items.get(&item).map(|item| &item.kind)
    }

    /// The properties of an item, in the order in which they apply.
    pub fn properties(&self, item: u32) -> impl Iterator<Item = (&Kind, Bytes<'a>)> {
        let indices = self.items.get(&item).into_iter().flat_map(|item| &item.properties);
        indices.filter_map(|&index| self.properties.get(index)).map(|(kind, body)| (kind, Bytes(body)))
    }

    /// The first property of a kind.
    pub fn property(&self, item: u32, kind: &Kind) -> Option<Bytes<'a>> {
        self.properties(item).find(|(found, _)| *found == kind).map(|(_, body)| body)
    }

    /// The items to which an item refers.
    pub fn references(&self, item: u32, kind: &Kind) -> &[u32] {
        let found = self.references.iter().find(|found| found.from == item && found.kind == *kind);
        found.map_or(&[], |found| &found.to)
    }

    /// The items that refer to an item.
    pub fn referring(&self, item: u32, kind: &Kind) -> impl Iterator<Item = u32> {
        let found = self.references.iter().filter(move |found| found.kind == *kind && found.to.contains(&item));
        found.map(|found| found.from)
    }

    /// Width and height as the property `ispe` declares them.
    pub fn size(&self, item: u32) -> Result<(usize, usize), Refusal> {
        let mut size = self.property(item, b"ispe").ok_or(DAMAGED)?;
        let mut next = || size.uint(4).map(|size| size as usize);
        let sizes = next().and_then(|_| Some((next()?, next()?)));
        sizes.ok_or(DAMAGED.into())
    }

    /// The colours of an item as the property `colr` gives them: the numbers of primaries and matrix in ITU-T H.273, and
    /// whether samples use their full range.
    pub fn colours(&self, item: u32) -> Option<(u16, u16, bool)> {
        let mut found = self.properties(item).filter(|(kind, _)| *kind == b"colr");
        found.find_map(|(_, mut body)| {
            if body.kind()? != *b"nclx" {
                return None;
            }
            let primaries = body.uint(2)? as u16;
            body.take(2)?;
            Some((primaries, body.uint(2)? as u16, body.uint(1)? >> 7 == 1))
        })
    }

    /// The bytes of an item.
    pub fn data(&self, item: u32) -> Result<Cow<'a, [u8]>, Refusal> {
        let found = self.items.get(&item).ok_or(DAMAGED)?;
        let whole = if found.inline { self.inline } else { self.file };
        let piece = |&(offset, length): &(u64, u64)| {
            let rest = whole.get(usize::try_from(offset).ok()?..)?;
            if length == 0 { Some(rest) } else { rest.get(..usize::try_from(length).ok()?) }
        };
        let pieces = found.pieces.iter().map(piece).collect::<Option<Vec<_>>>().ok_or(DAMAGED)?;
        match pieces[..] {
            [] => Err("its picture is stored in a way that is not supported".into()),
            [piece] => Ok(Cow::Borrowed(piece)),
            // Pieces that overlap could ask for any amount of memory.
            _ if pieces.iter().map(|piece| piece.len()).sum::<usize>() > self.file.len() => Err(DAMAGED.into()),
            _ => Ok(Cow::Owned(pieces.concat())),
        }
    }

    /// What an item of the kind `grid` is made of.
    pub fn grid(&self, item: u32) -> Result<Grid, Refusal> {
        let data = self.data(item)?;
        let mut data = Bytes(&data);
        let mut head = || {
            let flags = data.uint(2)?;
            let size = if flags & 1 == 1 { 4 } else { 2 };
            let (rows, columns) = (data.uint(1)? + 1, data.uint(1)? + 1);
            Some([rows, columns, data.uint(size)?, data.uint(size)?].map(|value| value as usize))
        };
        let [rows, columns, width, height] = head().ok_or(DAMAGED)?;
        let tiles = self.references(item, b"dimg").to_vec();
        if tiles.len() != rows * columns {
            return Err("the number of its tiles is not that of its grid".into());
        }
        Ok(Grid { rows, columns, width, height, tiles })
    }
}

/// The boxes in `bytes`, up to the first that is cut off.
pub fn boxes(bytes: &[u8]) -> impl Iterator<Item = (Kind, &[u8])> {
    let mut rest = Bytes(bytes);
    std::iter::from_fn(move || {
        let whole = rest.0.len() as u64;
        let size = rest.uint(4)?;
        let kind = rest.kind()?;
        let (head, size) = match size {
            0 => (8, whole),
            1 => (16, rest.uint(8)?),
            size => (8, size),
        };
        Some((kind, rest.take(usize::try_from(size.checked_sub(head)?).ok()?)?))
    })
}

/// Bytes that are read from the front, big end first.
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next `count` bytes, if there are so many.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of `size` bytes, up to eight.
    pub fn uint(&mut self, size: usize) -> Option<u64> {
        if size > 8 {
            return None;
        }
        Some(self.take(size)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Four letters.
    pub fn kind(&mut self) -> Option<Kind> {
        self.take(4)?.try_into().ok()
    }

    /// The number of an item.
    fn id(&mut self, long: bool) -> Option<u32> {
        self.uint(if long { 4 } else { 2 }).map(|id| id as u32)
    }

    /// The version of a box, whose flags are skipped.
    fn version(&mut self) -> Option<u64> {
        self.uint(4).map(|head| head >> 24)
    }
}
