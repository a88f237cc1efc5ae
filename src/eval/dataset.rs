//! Labelled pictures on disk: which there are, which are good, which are tested, and how they are drawn and divided.
//!
//! Listing opens no test picture: teaching must not depend on a byte of that split, and an unread file cannot leak.
//! Every order comes from the files' names, never from the file system, so that a seed means the same everywhere.
//!
//! | layout | read when | training good | training bad | test |
//! |---|---|---|---|---|
//! | `split.csv` | the folder has one | `split = train`, `label = 0` | `train`, `1` | `test` |
//! | MVTec AD | else | `train/good/` | `train/<kind>/` | `test/good/`, `test/<kind>/` |
//! | two folders | `--good`, `--bad` | all below the one | all below the other | none |

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

use super::item::{GOOD_KIND, Item, Label, Split};
use super::split_csv;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::picture;
use crate::train::options::GOOD_MIN;
use crate::train::promise;

/// Kinds whose label is a guess. They are neither taught nor tested.
pub const AMBIGUOUS: [&str; 2] = ["likely", "possibly"];

/// The pictures of one product; each list in byte order of [`Item::rel`].
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The folder, absolute; the good one when there are two.
    pub root: PathBuf,
    /// Good parts to teach.
    pub good: Vec<Item>,
    /// Defective parts to teach, given as such (drawn ones come from [`Dataset::draw_known`]).
    pub bad: Vec<Item>,
    /// Parts to test, good and defective.
    pub test: Vec<Item>,
    /// How many pictures were left out because their kind is one of [`AMBIGUOUS`].
    pub left_out: usize,
}

/// Known defects drawn from the test pictures, and the test pictures that remain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    /// What may be taught, in byte order of the names.
    pub known: Vec<Item>,
    /// What is tested, in byte order of the names.
    pub test: Vec<Item>,
}

/// The training goods in two parts that share no group; each in byte order of the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// What the recipe is fitted on.
    pub fit: Vec<Item>,
    /// What its threshold and its promise come from.
    pub held_out: Vec<Item>,
}

impl Dataset {
    /// Lists the pictures of `dir` by its `split.csv`, or else by the MVTec AD layout.
    ///
    /// Opens no test picture, and a training one only to see that no bad one repeats a good one.
    /// Training or test pictures may be absent; [`Dataset::require_good`] and [`Dataset::require_test`] ask for them.
    ///
    /// # Errors
    /// `NotFound` for a folder that is missing or holds no pictures in either layout, and for files that `split.csv`
    /// names and that are not there; `Corrupt` for mistakes in it. All mistakes are listed, with their lines.
    pub fn open(dir: &Path) -> Result<Self> {
        let root = absolute_folder(dir)?;
        let table = root.join("split.csv");
        let listed = if table.is_file() { split_csv::list(&root, &table)? } else { list_layout(&root)? };
        let mut dataset = Self { root, good: vec![], bad: vec![], test: vec![], left_out: 0 };
        for (split, item) in listed {
            match (split, item.label) {
                _ if AMBIGUOUS.contains(&item.kind.as_str()) => dataset.left_out += 1,
                (Split::Test, _) => dataset.test.push(item),
                (Split::Train, Label::Good) => dataset.good.push(item),
                (Split::Train, Label::Bad) => dataset.bad.push(item),
            }
        }
        for list in [&mut dataset.good, &mut dataset.bad, &mut dataset.test] {
            list.sort_by(|a, b| a.rel.cmp(&b.rel));
        }
        if dataset.good.is_empty() && dataset.bad.is_empty() && dataset.test.is_empty() {
            return Err(no_pictures(&dataset.root));
        }
        refuse_repeats(&dataset.good, &dataset.bad)?;
        Ok(dataset)
    }

    /// Takes every picture below `good` as good and every one below `bad` as defective; there is no test split.
    ///
    /// Names are `good/…` and `bad/…`, whatever the folders are called.
    ///
    /// # Errors
    /// `NotFound` for a missing or empty folder; `Refused` for fewer than [`GOOD_MIN`] good pictures and for a bad
    /// picture that repeats a good one.
    pub fn from_folders(good: &Path, bad: Option<&Path>) -> Result<Self> {
        let root = absolute_folder(good)?;
        let good = list(&root, Label::Good, GOOD_KIND)?;
        let bad = bad.map(Self::bad_folder).transpose()?.unwrap_or_default();
        refuse_repeats(&good, &bad)?;
        let dataset = Self { root, good, bad, test: vec![], left_out: 0 };
        dataset.require_good()?;
        Ok(dataset)
    }

    /// The pictures below a folder of bad ones.
    ///
    /// # Errors
    /// When it is missing or holds no pictures; names it.
    pub fn bad_folder(dir: &Path) -> Result<Vec<Item>> {
        list(&absolute_folder(dir)?, Label::Bad, "bad")
    }

    /// The pictures below a folder of the empty belt.
    ///
    /// # Errors
    /// When it is missing or holds no pictures; names it.
    pub fn empty_folder(dir: &Path) -> Result<Vec<Item>> {
        list(&absolute_folder(dir)?, Label::Good, "empty")
    }

    /// Checks that there are enough good pictures to teach.
    ///
    /// # Errors
    /// `Refused`, with the number there is and the number that is needed.
    pub fn require_good(&self) -> Result<()> {
        if self.good.len() >= GOOD_MIN {
            return Ok(());
        }
        let promise = promise::good_needed(0.01, 0.95).expect("1 in 100 at 95 % can be promised");
        Err(Error::new(
            ErrorKind::Refused,
            format!(
                "{} holds too few good pictures to teach, {}: capture at least {GOOD_MIN}, better {promise} and more (so \
                 many held out promise at most 1 false reject in 100, at 95 % confidence)",
                self.root.display(),
                self.good.len(),
            ),
        ))
    }

    /// Checks that there is something to test.
    ///
    /// # Errors
    /// `Refused` without any test picture.
    pub fn require_test(&self) -> Result<()> {
        if !self.test.is_empty() {
            return Ok(());
        }
        let step = "add test/good and test/<kind of defect>, or rows with split = test";
        Err(Error::new(ErrorKind::Refused, format!("{} holds no test pictures: {step}", self.root.display())))
    }

    /// Draws `n` known defects from the defective test pictures and takes them out of the test.
    ///
    /// Depends on the names of the defective test pictures and on `seed` alone. Opens the drawn pictures, and good ones
    /// of the same file size, to see that none repeats another.
    ///
    /// # Errors
    /// `Config` when there are fewer than `n`; `Refused` when a drawn one repeats a good training picture.
    pub fn draw_known(&self, n: usize, seed: u64) -> Result<Draw> {
        let mut bad: Vec<&Item> = self.test.iter().filter(|i| i.label == Label::Bad).collect();
        if n > bad.len() {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "{n} known defects were asked for and the test pictures of {} show {}: ask for {} or fewer",
                    self.root.display(),
                    bad.len(),
                    bad.len()
                ),
            ));
        }
        let (drawn, _) = bad.partial_shuffle(&mut ChaCha8Rng::seed_from_u64(seed), n);
        let drawn: HashSet<&str> = drawn.iter().map(|i| i.rel.as_str()).collect();
        let (known, test): (Vec<_>, Vec<_>) = self.test.iter().cloned().partition(|i| drawn.contains(i.rel.as_str()));
        refuse_repeats(&self.good, &known)?;
        Ok(Draw { known, test })
    }

    /// Divides the training goods by `seed`, holding out at most `fraction` of them (but never less than one group).
    ///
    /// # Errors
    /// `Refused` for fewer than [`GOOD_MIN`] good pictures or when all are of one group; `Config` for a fraction that is
    /// not between 0 and 1.
    pub fn split_held_out(&self, fraction: f64, seed: u64) -> Result<Parts> {
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(Error::new(
                ErrorKind::Config,
                format!("{fraction} of the good pictures cannot be held out: choose a fraction between 0 and 1"),
            ));
        }
        self.require_good()?;
        let mut by_group: BTreeMap<(bool, &str), Vec<&Item>> = BTreeMap::new();
        for item in &self.good {
            let key = if item.group.is_empty() { (false, item.rel.as_str()) } else { (true, item.group.as_str()) };
            by_group.entry(key).or_default().push(item);
        }
        let mut groups: Vec<Vec<&Item>> = by_group.into_values().collect();
        if groups.len() < 2 {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "all {} good pictures of {} are of one group, so none can be held out: add pictures of other parts",
                    self.good.len(),
                    self.root.display()
                ),
            ));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Another stream than draw_known's: the same seed must not tie the two choices together.
        rng.set_stream(1);
        groups.shuffle(&mut rng);
        // Rounding up to all of them would leave nothing to fit.
        let wanted = ((self.good.len() as f64 * fraction).round() as usize).min(self.good.len() - 1);
        let mut held_out: HashSet<&str> = HashSet::new();
        for group in &groups {
            if held_out.len() + group.len() <= wanted {
                held_out.extend(group.iter().map(|i| i.rel.as_str()));
            }
        }
        if held_out.is_empty() {
            let smallest = groups.iter().min_by_key(|g| g.len()).expect("there are two groups or more");
            held_out.extend(smallest.iter().map(|i| i.rel.as_str()));
        }
        let (held_out, fit): (Vec<_>, Vec<_>) =
            self.good.iter().cloned().partition(|i| held_out.contains(i.rel.as_str()));
        Ok(Parts { fit, held_out })
    }
}

/// All pictures below a folder, as one kind.
fn list(dir: &Path, label: Label, kind: &str) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for (path, rel) in pictures_below(dir)? {
        let rel = format!("{kind}/{rel}");
        items.push(Item { path, rel, kind: kind.into(), label, mask: None, group: String::new() });
    }
    if items.is_empty() { Err(no_pictures(dir)) } else { Ok(items) }
}

/// The fingerprint of the files that were read: names and contents, in whatever order they came.
#[derive(Clone, Debug, Default)]
pub struct Digest {
    files: BTreeMap<String, [u8; 32]>,
}

impl Digest {
    /// The fingerprint of `items`; reads them all.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of<'a>(items: impl IntoIterator<Item = &'a Item>) -> Result<Self> {
        let mut digest = Self::default();
        for item in items {
            digest.add(&item.rel, &read(&item.path)?);
        }
        Ok(digest)
    }

    /// Adds a file by its name inside the dataset. Adding it again with the same bytes changes nothing.
    pub fn add(&mut self, rel: &str, bytes: &[u8]) {
        self.files.insert(rel.to_owned(), Sha256::digest(bytes).into());
    }

    /// SHA-256 over each name, a zero byte and the SHA-256 of the content, in byte order of the names; 64 hex digits.
    pub fn hex(&self) -> String {
        let mut all = Sha256::new();
        for (rel, content) in &self.files {
            all.update(rel.as_bytes());
            all.update([0]);
            all.update(content);
        }
        crate::train::inventory::hex(&all.finalize())
    }
}

/// Refuses defective pictures that are, byte for byte, good ones: taught as both they would teach nothing.
///
/// Opens only files that have the size of one in the other list.
fn refuse_repeats(good: &[Item], bad: &[Item]) -> Result<()> {
    if bad.is_empty() {
        return Ok(());
    }
    let sized = |items: &[Item]| -> Result<Vec<u64>> {
        items.iter().map(|i| Ok(fs::metadata(&i.path).map_err(|e| Error::io("read", &i.path, e))?.len())).collect()
    };
    let (good_sizes, bad_sizes) = (sized(good)?, sized(bad)?);
    let of_good: HashSet<u64> = good_sizes.iter().copied().collect();
    let of_bad: HashSet<u64> = bad_sizes.iter().copied().collect();
    let mut contents: HashMap<[u8; 32], &Item> = HashMap::new();
    for (item, size) in good.iter().zip(&good_sizes) {
        if of_bad.contains(size) {
            contents.insert(Sha256::digest(read(&item.path)?).into(), item);
        }
    }
    let mut pairs = String::new();
    for (item, size) in bad.iter().zip(&bad_sizes) {
        if of_good.contains(size) {
            let content: [u8; 32] = Sha256::digest(read(&item.path)?).into();
            if let Some(twin) = contents.get(&content) {
                pairs.push_str(&format!("\n  {} repeats {}", item.path.display(), twin.path.display()));
            }
        }
    }
    if pairs.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Refused,
        format!("the same pictures are given as bad and as good: decide what each shows and delete the other{pairs}"),
    ))
}

/// Lists `root` by the MVTec AD layout.
fn list_layout(root: &Path) -> Result<Vec<(Split, Item)>> {
    let mut listed = Vec::new();
    for (split, name) in [(Split::Train, "train"), (Split::Test, "test")] {
        let folder = root.join(name);
        if !folder.is_dir() {
            continue;
        }
        for (path, below) in pictures_below(&folder)? {
            let Some((kind, rest)) = below.split_once('/') else {
                let step = format!("move it to {name}/good or to {name}/<kind of defect>");
                return Err(Error::new(ErrorKind::Refused, format!("{} has no kind: {step}", path.display())));
            };
            let label = if kind == GOOD_KIND { Label::Good } else { Label::Bad };
            let mask = if label == Label::Bad { layout_mask(root, kind, rest) } else { None };
            let item =
                Item { kind: kind.to_owned(), rel: format!("{name}/{below}"), label, mask, group: String::new(), path };
            listed.push((split, item));
        }
    }
    if listed.is_empty() { Err(no_pictures(root)) } else { Ok(listed) }
}

/// `ground_truth/<kind>/<stem>_mask.png`, or without `_mask` as some sets of the same layout have it.
fn layout_mask(root: &Path, kind: &str, rest: &str) -> Option<PathBuf> {
    let stem = rest.rsplit_once('.').map_or(rest, |(stem, _)| stem);
    let folder = root.join("ground_truth").join(kind);
    ["_mask.png", ".png"].iter().map(|end| folder.join(format!("{stem}{end}"))).find(|p| p.is_file())
}

/// Every picture below `folder` by its extension: (absolute path, name relative to `folder` with `/`), sorted by name.
fn pictures_below(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    let is_seen = |e: &walkdir::DirEntry| e.depth() == 0 || !e.file_name().as_encoded_bytes().starts_with(b".");
    for entry in WalkDir::new(folder).follow_links(true).into_iter().filter_entry(is_seen) {
        let entry = entry.map_err(|e| {
            let place = e.path().unwrap_or(folder).display().to_string();
            let step = "repair or remove this link, or check its permissions";
            Error::new(ErrorKind::NotFound, format!("cannot list {place}: {step}")).caused_by(e)
        })?;
        if !entry.file_type().is_file() || !picture::has_picture_name(entry.path()) {
            continue;
        }
        let below = entry.path().strip_prefix(folder).expect("the walk stays below its folder");
        let parts: Option<Vec<&str>> = below.components().map(|c| c.as_os_str().to_str()).collect();
        let Some(parts) = parts else {
            let path = entry.path().display();
            return Err(Error::new(ErrorKind::Refused, format!("{path} has a name that is not UTF-8: rename it")));
        };
        found.push((entry.path().to_path_buf(), parts.join("/")));
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(found)
}

fn absolute_folder(dir: &Path) -> Result<PathBuf> {
    let root = fs::canonicalize(dir).map_err(|e| Error::io("open the folder", dir, e))?;
    if root.is_dir() {
        return Ok(root);
    }
    Err(Error::new(ErrorKind::Refused, format!("{} is not a folder: name the folder of the pictures", dir.display())))
}

fn no_pictures(dir: &Path) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!(
            "{} holds no pictures ({}): give a folder of pictures to --good, --bad and --empty, or to --data one with train/good \
             and test/<kind of defect>, or with a split.csv",
            dir.display(),
            picture::EXTENSIONS.join(", ")
        ),
    )
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| Error::io("read the picture", path, e))
}
