//! Databases that JDBC's URLs name: MySQL, MariaDB and PostgreSQL.

mod claim;
mod config;
mod database;
mod lookup;
mod page_reader;
mod rows;
mod scan;
mod sink;
mod source;
mod statements;

pub(crate) use lookup::lookup;
pub(crate) use sink::sink;
pub(crate) use source::source;
