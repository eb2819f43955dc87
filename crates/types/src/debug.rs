//! `Debug` for types with content that must not reach a log.

/// Implements `Debug` with the named fields only: a field that is added later stays hidden.
///
/// A field is a field of the type, or an expression over the value that is named first.
///
/// ```
/// struct Session {
///     user: String,
///     password: String,
/// }
/// symbolon_types::debug_fields!(Session: user);
///
/// struct Key(Vec<u8>);
/// symbolon_types::debug_fields!(Key |key| length: key.0.len());
///
/// let session = Session { user: "adele".to_owned(), password: "secret".to_owned() };
/// assert_eq!(format!("{session:?}"), r#"Session { user: "adele", .. }"#);
/// assert_eq!(format!("{:?}", Key(vec![7; 32])), "Key { length: 32, .. }");
/// # drop(session.password);
/// ```
#[macro_export]
macro_rules! debug_fields {
    ($type:ident $(<$lifetime:lifetime>)? $(: $($field:ident),+)?) => {
        $crate::debug_fields!($type $(<$lifetime>)? |_this| $($($field: _this.$field),+)?);
    };
    ($type:ident<$generic:ident> : $($field:ident),+) => {
        $crate::debug_fields!($type<$generic> |_this| $($field: _this.$field),+);
    };
    ($type:ident<$generic:ident>) => {
        $crate::debug_fields!($type<$generic> |_this|);
    };
    ($type:ident<$generic:ident> |$this:ident| $($name:ident: $value:expr),*) => {
        impl<$generic> ::std::fmt::Debug for $type<$generic> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                let $this = self;
                f.debug_struct(::std::stringify!($type))
                    $(.field(::std::stringify!($name), &$value))*
                    .finish_non_exhaustive()
            }
        }
    };
    ($type:ident $(<$lifetime:lifetime>)? |$this:ident| $($name:ident: $value:expr),*) => {
        impl ::std::fmt::Debug for $type $(<$lifetime>)? {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                let $this = self;
                f.debug_struct(::std::stringify!($type))
                    $(.field(::std::stringify!($name), &$value))*
                    .finish_non_exhaustive()
            }
        }
    };
}
