//! One macro for the flat vocabularies: an enum whose variants each have exactly one written name.

/// Declares an enum together with its written names, which are what JSON, the store and the command line show.
///
/// The result has `ALL`, `name()`, `Display`, `FromStr`, and serde forms that use the name.
#[macro_export]
macro_rules! named {
    ($(#[$meta:meta])* $vis:vis enum $type:ident { $($(#[$vmeta:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $type { $($(#[$vmeta])* $variant,)+ }

        impl $type {
            /// Lists every value, in the order of declaration.
            $vis const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns the written name, the one that JSON shows.
            #[must_use]
            $vis const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        impl ::core::fmt::Display for $type {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.pad(self.name())
            }
        }

        impl ::core::str::FromStr for $type {
            type Err = ::std::string::String;

            fn from_str(text: &str) -> ::core::result::Result<Self, Self::Err> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    other => Err(format!(
                        "'{other}' is none of {}",
                        [$($name),+].join(", ")
                    )),
                }
            }
        }

        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> ::core::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> ::core::result::Result<Self, D::Error> {
                $crate::text::parsed(deserializer)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::{Class, Proof, Protocol, Reason, TlsVersion, Upgrade};

    #[test]
    fn every_name_reads_back() {
        fn check<T: Copy + PartialEq + std::fmt::Debug + std::str::FromStr<Err = String> + ToString>(
            all: &[T],
        ) {
            for value in all {
                assert_eq!(value.to_string().parse::<T>().as_ref(), Ok(value));
            }
        }
        check(Class::ALL);
        check(Proof::ALL);
        check(Protocol::ALL);
        check(Reason::ALL);
        check(TlsVersion::ALL);
        check(Upgrade::ALL);
    }
}
