//! What a recipe keeps of its training run, so that a new kind of defect can be taught without the old pictures.
//!
//! Features of a bounded sample of views, deflated, in a constant of the recipe's graph that no node reads: the device
//! drops it as soon as it has read the file. Held-out good parts are kept exactly, since the threshold rests on them
//! again; what heads are fitted on without its three lowest bits (half a deviation), so that more of it fits.

use rayon::prelude::*;
use serde::Deserialize;

use super::bounds::Features;
use super::header::{CANDIDATES, Entry, Header, Kind, POOLED, Place};
use super::pack::{deflate, inflate, pack, unpack};
use crate::error::{Error, ErrorKind, Result};
use crate::inspect::recipe::KEEPSAKE_KEY;
use crate::train::features::{FeatureGraph, QuantizedFeatures};
use crate::train::head::Head;
use crate::train::image_classifier::{Pooled, pooled};
use crate::train::weights::PER_VIEW;

/// The most bytes a recipe keeps.
pub const BYTES_MAX: usize = 8_000_000;
/// The most bytes of its table of contents, inflated: there may be many thousand fingerprints.
const HEADER_MAX: usize = 32 << 20;
/// The schema of what is kept.
const SCHEMA: u32 = 1;
/// Lowest bits of codes that heads are fitted on which are not kept.
const DROPPED: u8 = 3;
/// A held-out good part.
pub(in crate::train) struct Exemplar {
    pub(in crate::train) full: QuantizedFeatures,
    /// Its crops, most suspicious first.
    pub(in crate::train) zooms: Vec<(QuantizedFeatures, Place)>,
}

/// What is kept; of two views each, the full one first.
#[derive(Default)]
pub(in crate::train) struct ReplayMemory {
    pub(in crate::train) grid: [usize; 2],
    pub(in crate::train) channels: usize,
    /// Fingerprints of the pictures that were taught.
    pub(in crate::train) good: Vec<String>,
    pub(in crate::train) bad: Vec<String>,
    /// What the evidences' weights were made of.
    pub(in crate::train) effects: [[Option<f64>; PER_VIEW]; 2],
    pub(in crate::train) heads: Option<[Head; 2]>,
    /// Pooled features of good views, and of the known bads' own for each training run: exact ones, or what was dropped of the codes would tell
    /// kept bads from good ones.
    pub(in crate::train) pooled: [Vec<Vec<f32>>; 2],
    pub(in crate::train) pooled_bad: [Vec<Pooled>; 2],
    /// Good views that were fitted on, most useful first.
    pub(in crate::train) goods: [Vec<QuantizedFeatures>; 2],
    pub(in crate::train) held: Vec<Exemplar>,
    /// Views of known bads, and their defects in good pictures, with the known bad's number.
    pub(in crate::train) real: [Vec<(usize, QuantizedFeatures)>; 2],
    pub(in crate::train) mixed: [Vec<(usize, QuantizedFeatures)>; 2],
}

/// `0..n`, so that any first few of them are spread over all.
pub(in crate::train) fn spread(n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|i| i.reverse_bits());
    order
}

/// Pooled features of at most [`POOLED`] of these views, spread over all.
pub(in crate::train) fn pool(space: &FeatureGraph, views: &[QuantizedFeatures]) -> Vec<Vec<f32>> {
    let chosen: Vec<usize> = spread(views.len()).into_iter().take(POOLED).collect();
    chosen.par_iter().map(|&i| pooled(space, &views[i])).collect()
}

/// Kinds with their shares of the room; what one leaves goes to the others in [`LEFT_TO`]'s order.
const SHARES: [(Kind, f64); 4] = [(Kind::Real, 0.3), (Kind::Held, 0.4), (Kind::Good, 0.2), (Kind::Mixed, 0.1)];
const LEFT_TO: [Kind; 4] = [Kind::Held, Kind::Good, Kind::Real, Kind::Mixed];

impl Kind {
    /// Lowest bits that are dropped of it.
    fn dropped(self) -> u8 {
        if self == Self::Held { 0 } else { DROPPED }
    }
}

/// Codes as they come back when heads are fitted on them, so that new views differ from kept ones by nothing else.
pub(in crate::train) fn rough(codes: &QuantizedFeatures) -> QuantizedFeatures {
    let kept: Vec<u8> = codes.iter().map(|v| (v >> DROPPED << DROPPED) | ((1 << DROPPED) >> 1)).collect();
    QuantizedFeatures::new(kept, codes.at)
}

/// Views that are kept together or not at all.
type Unit = Vec<(Entry, Vec<u8>)>;

impl ReplayMemory {
    /// At most [`BYTES_MAX`] bytes: everything small, and as many views as fit.
    ///
    /// Cost: 4 ms for each of at most 600 views.
    pub(in crate::train) fn encode(&self) -> Result<Vec<u8>> {
        let heads: Vec<f32> = self.heads.iter().flatten().flat_map(Head::numbers).collect();
        let of_bads = self.pooled_bad.iter().flatten().flatten().map(|(_, row)| row);
        let pooled = self.pooled.iter().flatten().chain(of_bads).flatten();
        let numbers: Vec<u8> = heads.iter().chain(pooled).flat_map(|v| v.to_le_bytes()).collect();
        let numbers = deflate(&numbers);
        // An entry takes about 64 bytes of the header, a place 90.
        let small =
            numbers.len() + 24 * (self.good.len() + self.bad.len()) + 64 * 8 * CANDIDATES + 96 * self.held.len();
        let room = BYTES_MAX.saturating_sub(small + 4096);
        let units = self.units();
        let mut taken = [0; 4];
        let mut left = room;
        let mut views_left = Features { grid: self.grid, channels: self.channels, lattice: None }.views_max();
        let mut take = |of: usize, most: usize| {
            let mut used = 0;
            while let Some(unit) = units[of].get(taken[of]) {
                let bytes: usize = unit.iter().map(|(e, _)| e.bytes).sum();
                if used + bytes > most.min(left) || unit.len() > views_left {
                    break;
                }
                (used, left) = (used + bytes, left - bytes);
                views_left -= unit.len();
                taken[of] += 1;
            }
        };
        SHARES.iter().enumerate().for_each(|(i, (_, share))| take(i, (room as f64 * share) as usize));
        LEFT_TO.iter().filter_map(|k| SHARES.iter().position(|(kind, _)| kind == k)).for_each(|i| take(i, room));
        let (mut entries, mut views) = (Vec::new(), Vec::new());
        for (entry, bytes) in units.into_iter().zip(taken).flat_map(|(units, n)| units.into_iter().take(n)).flatten() {
            entries.push(entry);
            views.extend(bytes);
        }
        let held = taken[1];
        let header = Header {
            schema: SCHEMA,
            grid: self.grid,
            channels: self.channels,
            good: self.good.clone(),
            bad: self.bad.clone(),
            effects: self.effects,
            dropped: DROPPED,
            head: heads.len() / 2,
            pooled: [0, 1].map(|v| self.pooled[v].len()),
            pooled_bad: [0, 1].map(|v| self.pooled_bad[v].iter().map(Vec::len).collect()),
            pooled_of: [0, 1].map(|v| {
                self.pooled_bad[v].iter().map(|lesson| lesson.iter().map(|(bad, _)| *bad).collect()).collect()
            }),
            numbers: numbers.len(),
            places: self.held[..held].iter().map(|h| h.zooms.iter().map(|(_, place)| *place).collect()).collect(),
            entries,
        };
        let header = serde_json::to_vec(&header)
            .map_err(|e| Error::new(ErrorKind::Internal, "what the recipe keeps cannot be written").caused_by(e))?;
        let header = deflate(&header);
        let all = [&(header.len() as u32).to_le_bytes()[..], &header, &numbers, &views].concat();
        if all.len() > BYTES_MAX {
            let message = format!("what the recipe keeps takes {} of {BYTES_MAX} bytes", all.len());
            return Err(Error::new(ErrorKind::Internal, message));
        }
        log::debug!("kept {taken:?} of known bads, held-out parts, good views and mixed ones in {} bytes", all.len());
        Ok(all)
    }

    /// Candidates in the order of [`SHARES`], packed.
    fn units(&self) -> [Vec<Unit>; 4] {
        let packed = |kind: Kind, views: Vec<(usize, usize, &QuantizedFeatures)>| -> Vec<(Entry, Vec<u8>)> {
            let one = |(view, bad, codes): (usize, usize, &QuantizedFeatures)| {
                let bytes = pack(codes, self.channels, self.grid, kind.dropped());
                (Entry { kind, view, bad, at: codes.at, bytes: bytes.len() }, bytes)
            };
            views.into_par_iter().map(one).collect()
        };
        let alone = |packed: Vec<(Entry, Vec<u8>)>| packed.into_iter().map(|p| vec![p]).collect::<Vec<Unit>>();
        // Both views in turn, and of each bad one view before the second of any.
        let in_turn = |views: &[Vec<(usize, QuantizedFeatures)>; 2]| -> Vec<Unit> {
            let mut order = Vec::new();
            for (v, views) in views.iter().enumerate() {
                let mut seen = vec![0usize; 1 + views.iter().map(|(b, _)| *b).max().unwrap_or(0)];
                for (i, (b, _)) in views.iter().enumerate() {
                    order.push((seen[*b], v, i));
                    seen[*b] += 1;
                }
            }
            order.sort_unstable();
            let chosen = order.iter().take(2 * CANDIDATES).map(|&(_, v, i)| (v, views[v][i].0, &views[v][i].1));
            let kind = if std::ptr::eq(views, &self.mixed) { Kind::Mixed } else { Kind::Real };
            alone(packed(kind, chosen.collect()))
        };
        let with_zooms = |h: &Exemplar| -> Unit {
            let zooms = h.zooms.iter().map(|(codes, _)| (1, 0, codes));
            packed(Kind::Held, [(0, 0, &h.full)].into_iter().chain(zooms).collect())
        };
        let held: Vec<Unit> = self.held.par_iter().take(CANDIDATES).map(with_zooms).collect();
        let goods = (0..CANDIDATES).flat_map(|i| (0..2).filter_map(move |v| Some((v, 0, self.goods[v].get(i)?))));
        [in_turn(&self.real), held, alone(packed(Kind::Good, goods.collect())), in_turn(&self.mixed)]
    }

    /// What [`ReplayMemory::encode`] kept of views with these `features`; `origin` names the recipe.
    ///
    /// Nothing that it claims is taken for granted: what does not fit `features` or the limits is refused before memory is
    /// taken for it. Memory: 600 MB at most, a sixth of that for real pictures.
    ///
    /// # Errors
    /// `Corrupt` where it is damaged, `Refused` where a newer zoomgate wrote it.
    pub(in crate::train) fn decode(bytes: &[u8], origin: &str, features: &Features) -> Result<Self> {
        let damaged = || {
            let message = format!(
                "what {origin} keeps of its pictures (`{KEEPSAKE_KEY}`) is damaged: restore the file, or teach again from \
                 pictures"
            );
            Error::new(ErrorKind::Corrupt, message)
        };
        if bytes.len() > BYTES_MAX {
            return Err(damaged());
        }
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
        let (header, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(damaged)?;
        let header = inflate(header, HEADER_MAX).ok_or_else(damaged)?;
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let Version { schema } = serde_json::from_slice(&header).map_err(|e| damaged().caused_by(e))?;
        if schema > SCHEMA {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "{origin} keeps its pictures as a newer zoomgate does: update zoomgate, or teach again from pictures"
                ),
            ));
        }
        let header: Header = serde_json::from_slice(&header).map_err(|e| damaged().caused_by(e))?;
        Self::read(header, rest, features).ok_or_else(damaged)
    }

    fn read(header: Header, rest: &[u8], features: &Features) -> Option<Self> {
        let bytes_of_numbers = header.numbers_of(features)?;
        let Header { grid, channels, good, bad, effects, dropped, head, .. } = header;
        let Header { pooled, pooled_bad, mut pooled_of, places, entries, .. } = header;
        for (of, counts) in pooled_of.iter_mut().zip(&pooled_bad) {
            if of.is_empty() {
                // Each view for a bad of its own.
                *of = counts.iter().map(|&n| (0..n).collect()).collect();
            }
            if !of.iter().map(Vec::len).eq(counts.iter().copied()) {
                return None;
            }
        }
        let (numbers, mut rest) = rest.split_at_checked(header.numbers)?;
        let numbers = inflate(numbers, bytes_of_numbers).filter(|n| n.len() == bytes_of_numbers)?;
        let numbers: Vec<f32> = numbers.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if !numbers.iter().all(|v| v.is_finite()) {
            return None;
        }
        let (heads, numbers) = numbers.split_at_checked(2 * head)?;
        let heads = match head {
            0 => None,
            _ => {
                let mut each = heads.chunks(head).map(|n| Head::from_numbers(n, channels, grid));
                Some([each.next()??, each.next()??])
            }
        };
        let mut rows = numbers.chunks_exact(2 * channels).map(<[f32]>::to_vec);
        let mut rows_of = |n: usize| rows.by_ref().take(n).collect::<Vec<_>>();
        let pooled = pooled.map(&mut rows_of);
        let pooled_bad = pooled_of.map(|lessons| -> Vec<Pooled> {
            lessons
                .into_iter()
                .map(|of| {
                    let rows = rows_of(of.len());
                    of.into_iter().zip(rows).collect()
                })
                .collect()
        });
        let mut cut = Vec::with_capacity(entries.len());
        for entry in &entries {
            let (bytes, more) = rest.split_at_checked(entry.bytes)?;
            rest = more;
            cut.push((entry, bytes));
        }
        if !rest.is_empty() {
            return None;
        }
        let unpacked: Vec<QuantizedFeatures> = cut
            .into_par_iter()
            .map(|(e, bytes)| {
                let values = unpack(bytes, channels, grid, if e.kind == Kind::Held { 0 } else { dropped })?;
                Some(QuantizedFeatures::new(values, e.at))
            })
            .collect::<Option<_>>()?;
        let mut kept = Self { grid, channels, good, bad, effects, heads, pooled, pooled_bad, ..Self::default() };
        let mut held: [Vec<QuantizedFeatures>; 2] = Default::default();
        for (entry, codes) in entries.iter().zip(unpacked) {
            match entry.kind {
                Kind::Real => kept.real.get_mut(entry.view)?.push((entry.bad, codes)),
                Kind::Mixed => kept.mixed.get_mut(entry.view)?.push((entry.bad, codes)),
                Kind::Good => kept.goods.get_mut(entry.view)?.push(codes),
                Kind::Held => held.get_mut(entry.view)?.push(codes),
            }
        }
        let [full, zooms] = held;
        let mut zooms = zooms.into_iter();
        for (full, places) in full.into_iter().zip(places) {
            kept.held.push(Exemplar { full, zooms: zooms.by_ref().take(places.len()).zip(places).collect() });
        }
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    /// `views` of each kind that cannot be made smaller.
    fn remember(views: usize, grid: [usize; 2], channels: usize) -> ReplayMemory {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let mut codes = || {
            let values: Vec<u8> = (0..grid[0] * grid[1] * channels).map(|_| rng.random()).collect();
            QuantizedFeatures::new(values, [rng.random_range(0..9), 2])
        };
        let mut of_bads = || (0..views).map(|i| (i % 5, codes())).collect::<Vec<_>>();
        let (real, mixed) = ([of_bads(), of_bads()], [of_bads(), of_bads()]);
        ReplayMemory {
            grid,
            channels,
            good: vec!["00ff".into(); views],
            bad: vec!["0a".into()],
            effects: [[Some(1.5), None, Some(-2.0)], [None; PER_VIEW]],
            heads: None,
            pooled: [vec![vec![0.25; 2 * channels]; 3], vec![vec![-1.0; 2 * channels]]],
            pooled_bad: [vec![vec![(3, vec![7.0; 2 * channels]), (0, vec![6.0; 2 * channels])]; 2], Vec::new()],
            goods: [0, 1].map(|_| (0..views).map(|_| codes()).collect()),
            held: (0..views)
                .map(|i| Exemplar { full: codes(), zooms: vec![(codes(), [i as f64, 0.0, 0.5, 0.5])] })
                .collect(),
            real,
            mixed,
        }
    }

    fn features(grid: [usize; 2], channels: usize) -> Features {
        Features { grid, channels, lattice: None }
    }

    #[test]
    fn what_fits_comes_back() {
        let kept = remember(7, [4, 6], 5);
        let back = ReplayMemory::decode(&kept.encode().unwrap(), "r.onnx", &features([4, 6], 5)).unwrap();
        assert_eq!((back.grid, back.channels, &back.good, &back.bad), (kept.grid, 5, &kept.good, &kept.bad));
        assert_eq!((back.effects, &back.pooled), (kept.effects, &kept.pooled));
        assert_eq!((&back.pooled_bad, back.heads.is_none()), (&kept.pooled_bad, true));
        assert_eq!((back.held.len(), back.real[1].len(), back.mixed[0].len()), (7, 7, 7));
        for (b, k) in back.held.iter().zip(&kept.held) {
            assert!(b.full == k.full && b.zooms == k.zooms, "held-out parts are kept exactly");
        }
        for v in 0..2 {
            assert_eq!(back.goods[v], kept.goods[v].iter().map(rough).collect::<Vec<_>>());
            let mut real: Vec<_> = kept.real[v].iter().map(|(b, c)| (*b, rough(c))).collect();
            // One of each bad comes before the second of any.
            assert_eq!(back.real[v].iter().map(|(b, _)| *b).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 0, 1]);
            real.sort();
            let mut found = back.real[v].clone();
            found.sort();
            assert_eq!(found, real);
        }
        let empty = ReplayMemory::decode(&[], "r.onnx", &features([4, 6], 5));
        assert_eq!(empty.err().unwrap().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn eight_megabytes_are_the_most_and_every_kind_has_its_share() {
        let kept = remember(60, [16, 16], 160);
        let bytes = kept.encode().unwrap();
        assert!(bytes.len() <= BYTES_MAX && bytes.len() > BYTES_MAX * 9 / 10, "{}", bytes.len());
        let back = ReplayMemory::decode(&bytes, "r.onnx", &features([16, 16], 160)).unwrap();
        let used = [
            back.real.iter().map(Vec::len).sum::<usize>(),
            2 * back.held.len(),
            back.goods.iter().map(Vec::len).sum(),
            back.mixed.iter().map(Vec::len).sum(),
        ];
        assert!(used[1] < 120 && used.iter().all(|&n| n >= 20) && used[1] > used[2] && used[2] > used[3], "{used:?}");
        let big = ReplayMemory { held: Vec::new(), ..remember(1, [128, 128], 600) };
        assert!(big.encode().unwrap().len() <= BYTES_MAX, "a view that does not fit is left out");
    }

    /// A keepsake's header and what follows it.
    fn apart(bytes: &[u8]) -> (serde_json::Value, Vec<u8>) {
        let (length, rest) = bytes.split_first_chunk::<4>().unwrap();
        let (header, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        (serde_json::from_slice(&inflate(header, HEADER_MAX).unwrap()).unwrap(), rest.to_vec())
    }

    fn together(header: &serde_json::Value, rest: &[u8]) -> Vec<u8> {
        let header = deflate(header.to_string().as_bytes());
        [&(header.len() as u32).to_le_bytes()[..], &header, rest].concat()
    }

    /// Every value inside, and how to get there.
    fn places_in(value: &serde_json::Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            serde_json::Value::Array(all) => {
                all.iter().enumerate().for_each(|(i, v)| places_in(v, &format!("{at}/{i}"), found));
            }
            serde_json::Value::Object(all) => all.iter().for_each(|(k, v)| places_in(v, &format!("{at}/{k}"), found)),
            _ => {}
        }
    }

    /// Features of nothing, products that overflow, heads, views, bads and places that no memory holds.
    #[test]
    fn a_header_that_lies_is_refused_before_anything_is_made_of_it() {
        let (grid, channels) = ([4, 6], 5);
        let (whole, rest) = apart(&remember(7, grid, channels).encode().unwrap());
        let huge = u64::MAX;
        for (at, lie) in [
            ("/channels", 0u64),
            ("/channels", huge / 2),
            ("/grid/0", 0),
            ("/grid/1", 1 << 40),
            ("/head", huge / 8),
            ("/head", 7),
            ("/pooled/0", huge),
            ("/pooled/0", 0),
            ("/pooled_bad/0/0", huge),
            ("/pooled_of/0/0/0", huge),
            ("/dropped", 8),
            ("/dropped", 255),
            ("/numbers", huge),
            ("/entries/0/bytes", huge),
            ("/entries/0/bad", huge),
            ("/entries/0/view", 2),
            ("/entries/3/at/0", huge),
            ("/places/0/0/2", 0),
        ] {
            let mut header = whole.clone();
            *header.pointer_mut(at).unwrap_or_else(|| panic!("{at}")) = lie.into();
            let error = ReplayMemory::decode(&together(&header, &rest), "line3.onnx", &features(grid, channels)).err();
            let error = error.unwrap_or_else(|| panic!("{at} = {lie} was read"));
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{at} = {lie}");
            let text = error.to_string();
            for word in ["line3.onnx", KEEPSAKE_KEY, "teach again from pictures"] {
                assert!(text.contains(word), "{at} = {lie}: {word:?} is missing in: {text}");
            }
        }
        // Crops begin where the lattice ends.
        let lattice = Some(crate::inspect::crop::CropLattice { rows: 8, columns: 10, margin: 0 });
        let at = Features { lattice, ..features(grid, channels) };
        assert!(ReplayMemory::decode(&together(&whole, &rest), "r.onnx", &at).is_err());
        // Another graph's.
        for other in [features([6, 4], channels), features(grid, 4), features([0, 0], 0), features([usize::MAX; 2], 9)]
        {
            assert!(ReplayMemory::decode(&together(&whole, &rest), "r.onnx", &other).is_err());
        }
    }

    /// Numbers, lists and bytes changed at random: an error or another keepsake, never a panic, and at once.
    #[test]
    fn no_damage_to_what_is_kept_panics() {
        let (grid, channels) = ([4, 6], 5);
        let whole = remember(3, grid, channels).encode().unwrap();
        let (header, rest) = apart(&whole);
        let mut all = Vec::new();
        places_in(&header, "", &mut all);
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let numbers = [0, 1, 2, 7, 255, 1 << 20, 1 << 31, 1 << 32, 1 << 48, i64::MAX as u64, u64::MAX];
        let (mut read, mut refused) = (0, 0);
        for case in 0..4000 {
            let (mut lies, mut bytes) = (header.clone(), rest.clone());
            for _ in 0..rng.random_range(1..4) {
                let Some(value) = lies.pointer_mut(&all[rng.random_range(1..all.len())]) else { continue };
                *value = match (value.clone(), rng.random_range(0..6)) {
                    (serde_json::Value::Array(mut list), 0..3) if !list.is_empty() => {
                        list.remove(rng.random_range(0..list.len()));
                        list.into()
                    }
                    (serde_json::Value::Array(mut list), 3..5) if !list.is_empty() => {
                        list.push(list[rng.random_range(0..list.len())].clone());
                        list.into()
                    }
                    (_, 0) => serde_json::Value::Null,
                    (_, 1) => (-1).into(),
                    (_, 2) => 1e300.into(),
                    (_, 3) => Vec::<u8>::new().into(),
                    _ => numbers[rng.random_range(0..numbers.len())].into(),
                };
            }
            if case % 4 == 0 {
                bytes.truncate(rng.random_range(0..=bytes.len()));
            }
            let mut bytes = together(&lies, &bytes);
            if case % 8 == 1 {
                bytes = whole.clone();
                bytes.truncate(rng.random_range(0..whole.len()));
            } else if case % 8 == 2 {
                bytes = whole.clone();
                let at = rng.random_range(0..whole.len());
                bytes[at] = rng.random();
            }
            match ReplayMemory::decode(&bytes, "line3.onnx", &features(grid, channels)) {
                Ok(_) => read += 1,
                Err(error) => {
                    assert!([ErrorKind::Corrupt, ErrorKind::Refused].contains(&error.kind()), "{case}: {error}");
                    refused += 1;
                }
            }
        }
        assert!(read > 20 && refused > 2000, "{read} were read, {refused} were refused");
    }

    #[test]
    fn the_first_few_are_spread_over_all() {
        for n in [1, 2, 7, 100] {
            let mut order = spread(n);
            assert!(order.iter().take(4).all(|i| n < 8 || i % (n / 4).next_power_of_two().min(16) == 0), "{order:?}");
            order.sort_unstable();
            assert_eq!(order, (0..n).collect::<Vec<_>>());
        }
    }
}
