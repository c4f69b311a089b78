//! How arguments travel: borrowed where they are sent, and read where they lie in the message.

use std::borrow::Cow;

use serde_bytes::Bytes as Raw;

use crate::error::{Error, Result};
use crate::token::parameter::GcmMessage;
use crate::token::{Mechanism, Room, Template};

/// The form of an argument.
pub trait Form<'a>: Sized {
    /// As the methods of the token take it.
    type Arg;
    fn of(argument: Self::Arg) -> Self;
}

/// An argument that was read, lent to the method that takes it.
pub trait Lend {
    type To<'f>
    where
        Self: 'f;
    fn lend(&self) -> Self::To<'_>;
}

macro_rules! as_it_is {
    ($($ty:ty)*) => {
        $(impl Form<'_> for $ty {
            type Arg = $ty;
            fn of(argument: $ty) -> Self {
                argument
            }
        }

        impl Lend for $ty {
            type To<'f> = $ty;
            fn lend(&self) -> $ty {
                self.clone()
            }
        })*
    };
}

as_it_is! { bool u64 usize [u64; 2] Room Option<Room> Option<Mechanism> }

macro_rules! borrowed {
    ($($ty:ty)*) => {
        $(impl<'a> Form<'a> for Cow<'a, $ty> {
            type Arg = &'a $ty;
            fn of(argument: &'a $ty) -> Self {
                Cow::Borrowed(argument)
            }
        }

        impl Lend for Cow<'_, $ty> {
            type To<'f> = &'f $ty where Self: 'f;
            fn lend(&self) -> &$ty {
                self
            }
        })*
    };
}

borrowed! { GcmMessage Mechanism Template }

impl<'a> Form<'a> for Option<Cow<'a, Mechanism>> {
    type Arg = Option<&'a Mechanism>;
    fn of(argument: Self::Arg) -> Self {
        argument.map(Cow::Borrowed)
    }
}

impl Lend for Option<Cow<'_, Mechanism>> {
    type To<'f>
        = Option<&'f Mechanism>
    where
        Self: 'f;
    fn lend(&self) -> Option<&Mechanism> {
        self.as_deref()
    }
}

impl<'a> Form<'a> for &'a Raw {
    type Arg = &'a [u8];
    fn of(argument: &'a [u8]) -> Self {
        Raw::new(argument)
    }
}

impl Lend for &Raw {
    type To<'f>
        = &'f [u8]
    where
        Self: 'f;
    fn lend(&self) -> &[u8] {
        self
    }
}

impl<'a> Form<'a> for Option<&'a Raw> {
    type Arg = Option<&'a [u8]>;
    fn of(argument: Self::Arg) -> Self {
        argument.map(Raw::new)
    }
}

impl Lend for Option<&Raw> {
    type To<'f>
        = Option<&'f [u8]>
    where
        Self: 'f;
    fn lend(&self) -> Option<&[u8]> {
        self.map(|bytes| &**bytes)
    }
}

/// An argument that was found bad at the door, of which the token is to know.
impl<'a> Form<'a> for Result<&'a Raw, u64> {
    type Arg = Result<&'a [u8]>;
    fn of(argument: Self::Arg) -> Self {
        argument.map(Raw::new).map_err(|error| error.rv())
    }
}

impl Lend for Result<&Raw, u64> {
    type To<'f>
        = Result<&'f [u8]>
    where
        Self: 'f;
    fn lend(&self) -> Result<&[u8]> {
        self.map(|bytes| &**bytes).map_err(Error::Cryptoki)
    }
}
