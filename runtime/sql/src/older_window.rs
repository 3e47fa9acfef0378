//! The window of a GROUP BY in the older form, `GROUP BY TUMBLE(ts, size)`, while its query is bound.

use weir_core::Field;
use weir_core::keyed::TimeDomain;
use weir_core::windows::Windows;
use weir_expr::Expr;

/// The window of a GROUP BY in the older form. Its start, end and time are the columns from `columns` on.
#[derive(Clone)]
pub(crate) struct OlderWindow {
    pub function: &'static str,
    pub windows: Windows,
    pub time: Expr,
    pub domain: TimeDomain,
    pub columns: usize,
    pub fields: [Field; 3],
}

impl OlderWindow {
    /// The column of the window's start, end or time, by its number.
    pub fn column(&self, n: usize) -> Expr {
        let f = &self.fields[n];
        Expr::column(self.columns + n, f.name.clone(), f.ty.clone())
    }

    /// The grouping keys of the window.
    pub fn keys(&self) -> [Expr; 3] {
        [self.column(0), self.column(1), self.column(2)]
    }
}
