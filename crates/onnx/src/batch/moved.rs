//! Rules for operators that only move elements.

use super::{Carried, Choices, Rule, Seen, to};
use crate::graph::Fix;
use crate::node::{axes, axis};

impl Seen<'_> {
    pub(super) fn transpose(&self) -> Rule {
        let c = self.only_first()?;
        let rank = self.rank();
        let order = match self.node.ints("perm") {
            Some(perm) => axes(perm, rank)?,
            None => (0..rank).rev().collect(),
        };
        let axis = order
            .iter()
            .position(|a| *a == c.axis)
            .ok_or("its order of axes is incomplete")?;
        to(c.at(axis))
    }

    /// Returns the possible positions of the samples after a reshape, best first.
    ///
    /// A position on an output axis is possible if the axes before it, times `outer`, contain exactly the elements that
    /// come before the samples; the rest of that axis is `inner`. Every such axis is correct for the elements
    /// themselves. Only later nodes show which one the exporter meant. An axis that holds only the samples is
    /// preferred. Otherwise `[1, C, L]` to `[C, L]` makes one list of the rows of all samples, and so does `[T, 1, D]`
    /// to `[T, D]`, where `D` must keep its length.
    fn regrouped(&self, c: Carried) -> Result<Vec<Carried>, String> {
        let from = self.shape(0).ok_or("its shape was not seen")?;
        let onto = self.out_shape()?;
        let before = from[..c.axis].iter().product::<usize>() * c.outer;
        let mut places = Vec::new();
        let mut cut_off = 1usize;
        for (axis, length) in onto.iter().enumerate() {
            if cut_off == 0 || *length == 0 {
                return Err("it is empty".into());
            }
            let outer = before / cut_off;
            if before.is_multiple_of(cut_off) && length.is_multiple_of(outer.max(1)) && outer > 0 {
                places.push(Carried {
                    axis,
                    outer,
                    inner: length / outer,
                });
            }
            cut_off *= length;
        }
        let worth = |p: &Carried| {
            let last = p.axis + 1 == onto.len() && onto.len() > 1;
            match (p.outer, p.inner) {
                (1, 1) => 0,
                (1, _) if !last => 1,
                (_, 1) => 2,
                (1, _) => 3,
                _ => 4,
            }
        };
        places.sort_by_key(|p| (worth(p), p.axis));
        Ok(places)
    }

    pub(super) fn reshape(&self, choices: &mut Choices) -> Rule {
        let c = self.only_first()?;
        let mut places = self.regrouped(c)?;
        // A 0 copies the length of the input's axis, which includes the samples.
        let list = self.list(1).unwrap_or_default();
        if list.get(c.axis) == Some(&0) && self.node.int("allowzero", 0) == 0 {
            places.retain(|p| p.axis == c.axis && p.each() == c.each());
        }
        if places.is_empty() {
            return Err("it cuts across the samples".into());
        }
        let place = places[choices.pick(places.len())];
        Ok((
            vec![place],
            vec![Fix::OperatorEntry {
                input: 1,
                index: place.axis,
                each: place.each(),
            }],
        ))
    }

    /// Flatten makes a matrix: the axes before `axis` become the rows, the others the columns.
    pub(super) fn flatten(&self) -> Rule {
        let c = self.only_first()?;
        let shape = self.shape(0).ok_or("its shape was not seen")?;
        let given = self.node.int("axis", 1);
        let cut = if usize::try_from(given) == Ok(shape.len()) {
            shape.len()
        } else {
            axis(given, shape.len())?
        };
        let product = |part: &[usize]| part.iter().product::<usize>();
        let (axis, start, end) = if c.axis < cut {
            (0, 0, cut)
        } else {
            (1, cut, shape.len())
        };
        to(Carried {
            axis,
            outer: product(&shape[start..c.axis]) * c.outer,
            inner: c.inner * product(&shape[c.axis + 1..end]),
        })
    }

    pub(super) fn squeeze(&self) -> Rule {
        let c = self.only_first()?;
        let gone = self
            .axes(1)?
            .ok_or("it drops whatever has length 1, the samples' axis too if there is one")?;
        if gone.contains(&c.axis) {
            return Err("it drops the axis of the samples".into());
        }
        let before = gone.iter().filter(|a| **a < c.axis).count();
        to(c.at(c.axis - before))
    }

    pub(super) fn unsqueeze(&self) -> Rule {
        let c = self.only_first()?;
        let rank = self.out_shape()?.len();
        let list = match self.node.ints("axes") {
            Some(list) => list.to_vec(),
            None => self.list(1).ok_or("its axes are not constant")?,
        };
        let new = axes(&list, rank)?;
        let axis = (0..rank)
            .filter(|a| !new.contains(a))
            .nth(c.axis)
            .ok_or("its axes do not fit")?;
        to(c.at(axis))
    }

    pub(super) fn concat(&self) -> Rule {
        let rank = self.out_shape()?.len();
        let along = axis(self.node.int("axis", 1), rank)?;
        let places: Vec<Carried> = (0..self.node.inputs.len())
            .filter_map(|i| self.carried(i))
            .collect();
        let place = places[0];
        if places.iter().any(|p| *p != place) {
            return Err("its inputs hold the samples along different axes".into());
        }
        if place.axis == along {
            return Err("it joins along the axis of the samples".into());
        }
        // The inputs of QLinearConcat are the output's scale and zero point, then value, scale and zero point of each
        // part.
        let quantised = self.node.op == "com.microsoft.QLinearConcat";
        let is_part = |i: usize| !quantised || (i >= 2 && (i - 2).is_multiple_of(3));
        let mut fixes = Vec::new();
        for i in (0..self.node.inputs.len()).filter(|i| is_part(*i)) {
            if self.carried(i).is_none() {
                if place.each() != 1 {
                    return Err("a constant would have to be repeated in blocks".into());
                }
                fixes.push(Fix::Repeat {
                    input: i,
                    axis: place.axis,
                });
            }
        }
        Ok((vec![place], fixes))
    }

    pub(super) fn slice(&self) -> Rule {
        let c = self.only_first()?;
        let rank = self.rank();
        let starts = match self.node.ints("starts") {
            Some(list) => list.len(),
            None => self.shape(1).map_or(0, |s| s.iter().product()),
        };
        let touched = match self.node.ints("axes") {
            Some(list) => axes(list, rank)?,
            None if self.node.inputs.get(3).is_some_and(Option::is_some) => {
                axes(&self.list(3).ok_or("its axes are not constant")?, rank)?
            }
            None => (0..starts).collect(),
        };
        if let Some(i) = touched.iter().position(|a| *a == c.axis) {
            let at = |input: usize, name: &str| {
                self.node
                    .ints(name)
                    .map(<[i64]>::to_vec)
                    .or_else(|| self.list(input))
                    .and_then(|l| l.get(i).copied())
            };
            let step = at(4, "steps").unwrap_or(1);
            let whole = at(1, "starts") == Some(0)
                && at(2, "ends").is_some_and(|e| e >= i64::from(i32::MAX))
                && step == 1;
            if !whole {
                return Err("it cuts along the axis of the samples".into());
            }
        }
        to(c)
    }

    pub(super) fn split(&self) -> Rule {
        let c = self.only_first()?;
        if axis(self.node.int("axis", 0), self.rank())? == c.axis {
            return Err("it splits along the axis of the samples".into());
        }
        to(c)
    }

    pub(super) fn gather(&self) -> Rule {
        let at = axis(self.node.int("axis", 0), self.rank())?;
        let picked = self.shape(1).map_or(0, <[usize]>::len);
        match (self.carried(0), self.carried(1)) {
            (Some(c), None) if c.axis < at => to(c),
            (Some(c), None) if c.axis > at => to(c.at(c.axis + picked - 1)),
            (None, Some(c)) => to(c.at(at + c.axis)),
            _ => Err("it picks along the axis of the samples".into()),
        }
    }

    pub(super) fn pad(&self) -> Rule {
        let c = self.only_first()?;
        let rank = self.rank();
        let pads = match self.node.ints("pads") {
            Some(list) => list.to_vec(),
            None => self.list(1).ok_or("its pads are not constant")?,
        };
        let touched = if self.node.inputs.get(3).is_some_and(Option::is_some) {
            axes(&self.list(3).ok_or("its axes are not constant")?, rank)?
        } else {
            (0..rank).collect()
        };
        let n = touched.len();
        for (i, a) in touched.iter().enumerate() {
            let zero = pads.get(i) == Some(&0) && pads.get(i + n) == Some(&0);
            if *a == c.axis && !zero {
                return Err("it pads along the axis of the samples".into());
            }
        }
        to(c)
    }

    pub(super) fn expand(&self) -> Rule {
        let c = self.only_first()?;
        let (rank, length) = (
            self.out_shape()?.len(),
            self.shape(1)
                .and_then(<[usize]>::first)
                .copied()
                .unwrap_or(0),
        );
        let place = c.at(c.axis + rank - self.rank());
        if self.out_shape()?[place.axis] != c.each() {
            return Err("it repeats along the axis of the samples".into());
        }
        let fixes = (place.axis + length)
            .checked_sub(rank)
            .map(|index| Fix::OperatorEntry {
                input: 1,
                index,
                each: c.each(),
            });
        Ok((vec![place], fixes.into_iter().collect()))
    }

    pub(super) fn tile(&self) -> Rule {
        let c = self.only_first()?;
        let times = self.list(1).ok_or("its repeats are not constant")?;
        match times.get(c.axis) {
            Some(1) => to(c),
            _ => Err("it repeats along the axis of the samples".into()),
        }
    }

    /// Trilu keeps a triangle of the last two axes.
    pub(super) fn triangle(&self) -> Rule {
        let c = self.only_first()?;
        if c.axis + 2 >= self.rank() {
            return Err("it cuts along the axis of the samples".into());
        }
        to(c)
    }
}
