//! Why a key set stays as it is.

use std::fmt;

use crate::date::Date;
use crate::keyset::AgentId;

/// What a transition still waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The key that signs is too young.
    Age(Date),
    /// A rotation was given up a short while ago.
    Hold(Date),
    /// As many keys as may be are in use; the oldest leaves then.
    Room(Option<Date>),
    /// The new key does not sign yet.
    Promotion,
    /// What was written before is not everywhere yet.
    Propagation(Date),
    /// So many agents are known, of so many.
    Agents(usize, usize),
    /// These have not published it.
    Published(Vec<AgentId>),
    /// The services of these could not take it.
    Rejected(Vec<AgentId>),
    /// Those who listen to agents have only begun.
    Settled(Date),
    /// The grace of a rotation.
    Grace(Date),
}

impl Missing {
    /// When the clock alone will have mended it.
    pub fn until(&self) -> Option<Date> {
        match self {
            Self::Age(date)
            | Self::Hold(date)
            | Self::Propagation(date)
            | Self::Settled(date)
            | Self::Grace(date) => Some(*date),
            Self::Room(date) => *date,
            Self::Promotion | Self::Agents(..) | Self::Published(_) | Self::Rejected(_) => None,
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Age(date) => write!(f, "the key that signs is too young until {date}"),
            Self::Hold(date) => {
                write!(f, "a rotation was given up; the schedule waits until {date}")
            }
            Self::Room(Some(date)) => {
                write!(f, "three keys are in use; the oldest leaves at {date}")
            }
            Self::Room(None) => write!(f, "three keys are in use"),
            Self::Promotion => write!(f, "the new key does not sign yet: it has to be promoted"),
            Self::Propagation(date) => write!(f, "the set before may be in use until {date}"),
            Self::Agents(known, expected) => {
                write!(f, "{known} agents are known, {expected} are expected")
            }
            Self::Published(agents) => write!(f, "not published yet by {}", agents.join(", ")),
            Self::Rejected(agents) => write!(f, "rejected by {}", agents.join(", ")),
            Self::Settled(date) => write!(f, "agents may make themselves known until {date}"),
            Self::Grace(date) => write!(f, "the grace lasts until {date}"),
        }
    }
}

/// Why a transition was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A rotation is open, with this new key.
    Open(u64),
    /// None is.
    NotOpen,
    /// What it waits for; never nothing.
    Blocked(Vec<Missing>),
    /// The key that was made for it is not the next one of this set.
    Outdated,
}

impl Refused {
    /// What it waits for, where that is it.
    pub fn blocked_by(&self) -> &[Missing] {
        match self {
            Self::Blocked(missing) => missing,
            Self::Open(_) | Self::NotOpen | Self::Outdated => &[],
        }
    }

    /// When the clock alone will have mended it; nothing where the clock cannot.
    pub fn until(&self) -> Option<Date> {
        let dates: Option<Vec<Date>> = self.blocked_by().iter().map(Missing::until).collect();
        dates?.into_iter().max()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(version) => write!(f, "a rotation to version {version} is open"),
            Self::NotOpen => write!(f, "No rotating key found"),
            Self::Blocked(missing) => {
                let all: Vec<String> = missing.iter().map(Missing::to_string).collect();
                f.write_str(&all.join("; "))
            }
            Self::Outdated => write!(f, "the key set has changed meanwhile"),
        }
    }
}

impl std::error::Error for Refused {}
