//! Metrics declared as a struct, their doc comments being the help text.
//!
//! Registering the struct registers every series it can ever have, so that each stands at zero
//! from the first scrape on and no label is made up while the server runs: a [`Family`] has one
//! series per value of a [`Label`], an enumeration. Ids of users, rooms or streams are no labels.
//!
//! A level (connections, tasks) is a gauge that only [`Raised`] moves: what is entered is left,
//! whatever way the code takes.

use std::fmt;
use std::marker::PhantomData;

use metrics::{Counter, Gauge, Histogram, SharedString};

/// A label whose values are known when the program is written.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Every value, each at the place [`Label::index`] gives.
    const ALL: &'static [Self];

    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;

    /// The value as it is written.
    fn as_str(self) -> &'static str;
}

/// One kind of metric: how it is described, and how one series of it is made.
pub trait Series: Sized {
    /// Gives the metric its help text.
    fn describe(name: &'static str, help: &'static str);

    /// Makes the series with these labels; it stands at zero.
    fn series(name: &'static str, labels: Vec<metrics::Label>) -> Self;
}

/// A field of a [`metric_set!`](crate::metric_set).
pub trait Registered: Sized {
    /// Describes the metric and makes all its series.
    fn register(name: &'static str, help: &'static str) -> Self;
}

/// A metric with one label: a series for each value.
pub struct Family<L, S> {
    series: Vec<S>,
    label: PhantomData<L>,
}

/// One unit of a gauge; dropping it takes the unit back.
#[must_use = "the gauge goes back as soon as this is dropped"]
pub struct Raised(Gauge);

impl<L: Label, S> Family<L, S> {
    /// The series of a value.
    #[must_use]
    pub fn of(&self, label: L) -> &S {
        &self.series[label.index()]
    }
}

impl<L, S> fmt::Debug for Family<L, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("series", &self.series.len()).finish_non_exhaustive()
    }
}

impl Raised {
    /// Adds one to the gauge for as long as the result lives.
    pub fn by_one(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl fmt::Debug for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Raised")
    }
}

impl<S: Series> Registered for S {
    fn register(name: &'static str, help: &'static str) -> Self {
        S::describe(name, help);
        S::series(name, Vec::new())
    }
}

impl<L: Label, S: Series> Registered for Family<L, S> {
    fn register(name: &'static str, help: &'static str) -> Self {
        S::describe(name, help);
        let label = |value: &L| vec![metrics::Label::from_static_parts(L::NAME, value.as_str())];
        let series = L::ALL.iter().map(|value| S::series(name, label(value))).collect();
        Self { series, label: PhantomData }
    }
}

impl Series for Counter {
    fn describe(name: &'static str, help: &'static str) {
        metrics::describe_counter!(name, SharedString::const_str(help));
    }

    fn series(name: &'static str, labels: Vec<metrics::Label>) -> Self {
        metrics::counter!(name, labels)
    }
}

impl Series for Gauge {
    fn describe(name: &'static str, help: &'static str) {
        metrics::describe_gauge!(name, SharedString::const_str(help));
    }

    fn series(name: &'static str, labels: Vec<metrics::Label>) -> Self {
        let gauge = metrics::gauge!(name, labels);
        gauge.set(0.0);
        gauge
    }
}

impl Series for Histogram {
    fn describe(name: &'static str, help: &'static str) {
        metrics::describe_histogram!(name, SharedString::const_str(help));
    }

    fn series(name: &'static str, labels: Vec<metrics::Label>) -> Self {
        metrics::histogram!(name, labels)
    }
}

/// Declares a struct of metrics: `field: Kind = "name",` each, with its help text as doc comment.
///
/// The struct gets `register()`, to be called inside
/// [`Handles::register`](crate::telemetry::Handles::register).
#[macro_export]
macro_rules! metric_set {
    (
        $(#[$meta:meta])*
        $vis:vis struct $set:ident {
            $($(#[doc = $help:literal])+ $field:ident: $kind:ty = $name:literal,)+
        }
    ) => {
        $(#[$meta])*
        $vis struct $set {
            $($(#[doc = $help])+ $vis $field: $kind,)+
        }

        impl $set {
            /// Registers every metric, each series at zero.
            #[must_use]
            $vis fn register() -> Self {
                Self {
                    $($field: <$kind as $crate::telemetry::metric::Registered>::register(
                        $name,
                        ::core::concat!($($help),+).trim_start(),
                    ),)+
                }
            }
        }
    };
}

/// Declares an enumeration that is a [`Label`]: `Variant = "text",` each.
#[macro_export]
macro_rules! metric_label {
    (
        $(#[$meta:meta])*
        $vis:vis enum $label:ident: $name:literal {
            $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $label {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $crate::telemetry::metric::Label for $label {
            const NAME: &'static str = $name;
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn index(self) -> usize {
                self as usize
            }

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}
