//! Networks of every kind of step, computed here by their formulas in double precision, become models
//! that give the same outputs, or are refused with a reason.

mod layers;
mod made;
mod meaning;
