//! The factory of each operator of the physical graph.

use super::ReadBy;
use super::connectors::Specs;
use std::sync::Arc;
use weir_connectors::SkippedDeadLetters;
use weir_core::graph::{OperatorFactory, Role};
use weir_core::{Error, Result, Schema};
use weir_expr::time::Zone;
use weir_expr::{Expr, OnError};
use weir_operators::aggregate::{
    AggregateFactory, EmittingWindowsFactory, SessionAggregateFactory, SlicedAggregateFactory, Stage,
    WindowAggregateFactory,
};
use weir_operators::calc::CalcFactory;
use weir_operators::chain::ChainFactory;
use weir_operators::enforce::EnforceFactory;
use weir_operators::expand::ExpandFactory;
use weir_operators::first_row::FirstRowFactory;
use weir_operators::join::{
    IntervalJoinFactory, JoinFactory, JoinInput, MultiJoinFactory, TemporalJoinFactory, WindowJoinFactory,
};
use weir_operators::late_rows::KeepRowsFactory;
use weir_operators::lookup::LookupFactory;
use weir_operators::match_recognize::MatchRecognizeFactory;
use weir_operators::normalize::NormalizeFactory;
use weir_operators::over::OverFactory;
use weir_operators::over_values::OverValuesFactory;
use weir_operators::rank::{RankFactory, WindowRankFactory};
use weir_operators::sort::SortFactory;
use weir_operators::timed_source::TimedSourceFactory;
use weir_operators::unnest::UnnestFactory;
use weir_operators::values::ValuesFactory;
use weir_operators::windows::{SessionFactory, WindowClock, WindowFactory};
use weir_plan::WindowMerge;
use weir_plan::physical::{Aggregation, Node, Operator, WindowKeys};

/// What factories are made with.
pub(super) struct Factories<'a> {
    /// Tables as their connectors see them.
    pub specs: Specs<'a>,
    /// What reads in the place of connectors.
    pub sources: ReadBy<'a>,
    /// What becomes of rows that built-in functions fail on.
    pub on_error: OnError,
    /// Counts the dead letters that a replay leaves alone.
    pub skipped_dead_letters: &'a Arc<SkippedDeadLetters>,
}

impl Factories<'_> {
    /// What a node does.
    ///
    /// # Errors
    /// When an option of a table is wrong.
    pub(super) fn role(&self, node: &Node) -> Result<Role> {
        let mut links = node.chain.iter().map(|o| self.operator(o, node)).collect::<Result<Vec<_>>>()?;
        if links.len() == 1
            && let Some(only) = links.pop()
        {
            return Ok(only);
        }
        let links = links.into_iter().map(|l| match l {
            Role::Operator(link) => Ok(link),
            Role::Source(_) | Role::Sink(_) => {
                Err(Error::internal(format!("'{}' has a source or sink in a chain", node.name)))
            }
        });
        Ok(Role::Operator(Arc::new(ChainFactory { links: links.collect::<Result<_>>()? })))
    }

    #[expect(clippy::too_many_lines, reason = "one flat match, an arm an operator")]
    fn operator(&self, operator: &Operator, node: &Node) -> Result<Role> {
        let (uid, statement) = (&node.uids.uid, node.statement.as_ref());
        let session = || self.specs.session.clone();
        Ok(match operator {
            Operator::Source { table, columns, fields, times } => {
                let read = times.as_ref().map_or(columns, |t| &t.read);
                let mut spec = self.specs.read(table, read, uid, statement)?;
                spec.fields.clone_from(fields);
                spec.timed = times.is_some();
                spec.keeps_records |= times.is_some() && table.on_error.policy == OnError::DeadLetter;
                let input = table.physical.project(read);
                let source = match (self.sources)(uid, read, &input) {
                    Some(source) => source,
                    None => weir_connectors::source(&spec)?,
                };
                let Some(times) = times else { return Ok(Role::Source(source)) };
                let scanned = &times.schema;
                let mut links: Vec<Arc<dyn OperatorFactory>> =
                    vec![Arc::new(self.calc_factory(&None, &times.exprs, scanned, &input, node))];
                if let Some((columns, instants)) = times.late_rows.clone() {
                    links.push(Arc::new(KeepRowsFactory { columns, instants }));
                }
                links.push(Arc::new(self.calc_factory(&None, &times.timed, &times.timed_schema, scanned, node)));
                Role::Source(Arc::new(TimedSourceFactory { source, operator: Arc::new(ChainFactory { links }) }))
            }
            Operator::DeadLetterSource { table, columns } => {
                let mut spec = self.specs.read(table, columns, uid, statement)?;
                spec.again = true;
                Role::Source(weir_connectors::source(&spec)?)
            }
            Operator::Replay { table, columns, letters, uid } => {
                let spec = self.specs.read(table, columns, uid, statement)?;
                Role::Operator(weir_connectors::replay(&spec, letters.clone(), self.skipped_dead_letters.clone())?)
            }
            Operator::Values { rows, schema } => {
                Role::Source(Arc::new(ValuesFactory { rows: rows.clone(), schema: schema.clone(), session: session() }))
            }
            Operator::Calc { condition, exprs, schema, input } => self.calc(condition, exprs, schema, input, node),
            Operator::Union { schema } => {
                let columns = schema.fields.iter().enumerate();
                let columns: Vec<Expr> = columns.map(|(i, f)| Expr::column(i, f.name.clone(), f.ty.clone())).collect();
                self.calc(&None, &columns, schema, schema, node)
            }
            Operator::Expand { sets, keys, schema } => {
                made(ExpandFactory { sets: sets.clone(), keys: keys.clone(), schema: schema.clone() })
            }
            Operator::Aggregate(a) => self.aggregate(a, Stage::Whole),
            Operator::LocalAggregate(a) => made(aggregate_factory(a, Stage::Local)),
            Operator::GlobalAggregate(a) => self.aggregate(a, Stage::Final),
            Operator::Window { windows, time, schema } => made(WindowFactory {
                windows: *windows,
                time: time.column,
                domain: time.domain,
                clock: self.window_clock(time.local),
                schema: schema.clone(),
            }),
            Operator::Session { gap, time, partition, input, schema } => made(SessionFactory {
                gap: *gap,
                partition: partition.clone(),
                time: time.column,
                domain: time.domain,
                clock: self.window_clock(time.local),
                input: input.clone(),
                schema: schema.clone(),
            }),
            Operator::Over { partition, time, frame, calls, input, schema } => made(OverFactory {
                partition: partition.clone(),
                time: time.column,
                domain: time.domain,
                frame: *frame,
                calls: calls.clone(),
                input: input.clone(),
                schema: schema.clone(),
            }),
            Operator::OverValues {
                partition,
                order,
                frame,
                calls,
                input,
                schema,
                at_end,
                ttl_millis,
                update_before,
            } => made(OverValuesFactory {
                partition: partition.clone(),
                order: order.clone(),
                frame: *frame,
                calls: calls.clone(),
                input: input.clone(),
                schema: schema.clone(),
                at_end: *at_end,
                ttl_millis: *ttl_millis,
                update_before: *update_before,
            }),
            Operator::Match { partition, time, order, matching, input, schema, timed_out } => {
                made(MatchRecognizeFactory {
                    partition: partition.clone(),
                    time: time.column,
                    domain: time.domain,
                    order: order.clone(),
                    matching: matching.clone(),
                    input: input.clone(),
                    schema: schema.clone(),
                    timed_out: timed_out.clone(),
                    session: session(),
                    on_error: self.on_error,
                    statement: statement.identity.clone(),
                })
            }
            Operator::Normalize { keys, schema, ttl_millis, update_before } => made(NormalizeFactory {
                keys: keys.clone(),
                schema: schema.clone(),
                materializes: false,
                ttl_millis: *ttl_millis,
                update_before: *update_before,
            }),
            Operator::Materialize { keys, schema, ttl_millis, update_before } => made(NormalizeFactory {
                keys: keys.clone(),
                schema: schema.clone(),
                materializes: true,
                ttl_millis: *ttl_millis,
                update_before: *update_before,
            }),
            Operator::FirstRow { partition, time, number, schema, ttl_millis } => made(FirstRowFactory {
                partition: partition.clone(),
                time: time.column,
                domain: time.domain,
                number: *number,
                schema: schema.clone(),
                ttl_millis: *ttl_millis,
            }),
            Operator::Sort { order, time, schema } => {
                made(SortFactory { order: order.clone(), time: *time, schema: schema.clone() })
            }
            Operator::Rank {
                partition,
                order,
                ranks,
                number,
                strategy,
                last_wins,
                window,
                at_end,
                schema,
                ttl_millis,
                update_before,
            } => {
                let rank = RankFactory {
                    partition: partition.clone(),
                    order: order.clone(),
                    ranks: *ranks,
                    number: *number,
                    strategy: strategy.clone(),
                    last_wins: *last_wins,
                    at_end: *at_end,
                    schema: schema.clone(),
                    ttl_millis: *ttl_millis,
                    update_before: *update_before,
                };
                match window {
                    None => made(rank),
                    Some(local) => made(WindowRankFactory { rank, clock: self.window_clock(*local) }),
                }
            }
            Operator::Enforce { table, constraints } => {
                let spec = self.specs.written(table, uid, statement)?;
                made(EnforceFactory { table: spec.name, schema: spec.schema, constraints: constraints.clone() })
            }
            Operator::Lookup { table, on, left, retry, keep, columns, schema } => {
                let spec = self.specs.read(table, columns, uid, statement)?;
                let there: Vec<usize> = on.iter().map(|(_, there)| *there).collect();
                made(LookupFactory {
                    table: weir_connectors::lookup(&spec, &there)?,
                    keys: on.iter().map(|(here, _)| *here).collect(),
                    keep: keep.clone(),
                    left: *left,
                    retry: *retry,
                    found: table.physical.project(columns),
                    schema: schema.clone(),
                })
            }
            Operator::Join(join) => {
                let fields = join.left.fields.iter().chain(&join.right.fields).cloned();
                let factory = JoinFactory {
                    kind: join.kind,
                    on: join.on.clone(),
                    condition: join.condition.clone(),
                    left: join.left.clone(),
                    right: join.right.clone(),
                    pairs: Schema::new(fields.collect()),
                    schema: join.schema.clone(),
                    retracts: join.retracts,
                    keeps_kinds: join.as_of.is_some(),
                    at_end: join.at_end,
                    ttl_millis: join.ttl_millis,
                    session: session(),
                    on_error: self.on_error,
                    statement: statement.identity.clone(),
                };
                match (join.window, join.interval, join.as_of) {
                    (_, _, Some(as_of)) => made(TemporalJoinFactory { join: factory, as_of }),
                    (None, None, None) => made(factory),
                    (None, Some(interval), None) => made(IntervalJoinFactory { join: factory, interval }),
                    (Some(local), _, None) => {
                        made(WindowJoinFactory { join: factory, clock: self.window_clock(local) })
                    }
                }
            }
            Operator::MultiJoin(join) => {
                let of_input = |(n, schema): (usize, &Schema)| JoinInput {
                    schema: schema.clone(),
                    on: join.on[n].clone(),
                    optional: join.optional[n],
                    retracts: join.retracts[n],
                    ttl_millis: join.ttl_millis[n],
                };
                made(MultiJoinFactory {
                    inputs: join.inputs.iter().enumerate().map(of_input).collect(),
                    nulls_equal: join.nulls_equal.clone(),
                    condition: join.condition.clone(),
                    schema: join.schema.clone(),
                    session: session(),
                    on_error: self.on_error,
                    statement: statement.identity.clone(),
                })
            }
            Operator::Unnest { collection, multiset, keep, columns, left, schema } => made(UnnestFactory {
                collection: *collection,
                multiset: *multiset,
                keep: keep.clone(),
                columns: columns.clone(),
                left: *left,
                schema: schema.clone(),
            }),
            Operator::Sink { table, key, changes, dead_letters } => {
                let mut spec = self.specs.written(table, uid, statement)?;
                spec.key = key.clone();
                spec.changes = *changes;
                let letters = dead_letters.as_ref().map(|t| self.specs.written(t, uid, statement)).transpose()?;
                spec.dead_letters = letters.map(Box::new);
                Role::Sink(weir_connectors::sink(&spec)?)
            }
        })
    }

    fn calc(
        &self,
        condition: &Option<Expr>,
        exprs: &[Expr],
        schema: &weir_core::Schema,
        input: &weir_core::Schema,
        node: &Node,
    ) -> Role {
        made(self.calc_factory(condition, exprs, schema, input, node))
    }

    /// The clock of windows, which is that of the session's zone where they are `local`.
    fn window_clock(&self, local: bool) -> WindowClock {
        WindowClock { zone: local.then_some(self.specs.session.zone).filter(|zone| *zone != Zone::UTC) }
    }

    fn aggregate(&self, a: &Aggregation, stage: Stage) -> Role {
        let aggregate = aggregate_factory(a, stage);
        match a.window {
            None => made(aggregate),
            Some(WindowKeys { local, merge, emit }) => {
                let clock = self.window_clock(local);
                if let Some(emit) = emit {
                    return made(EmittingWindowsFactory { aggregate, emit, clock });
                }
                match merge {
                    None => made(WindowAggregateFactory { aggregate, clock }),
                    Some(WindowMerge::Slices(slices)) => made(SlicedAggregateFactory { aggregate, slices, clock }),
                    Some(WindowMerge::Sessions) => made(SessionAggregateFactory { aggregate, clock }),
                }
            }
        }
    }

    fn calc_factory(
        &self,
        condition: &Option<Expr>,
        exprs: &[Expr],
        schema: &weir_core::Schema,
        input: &weir_core::Schema,
        node: &Node,
    ) -> CalcFactory {
        CalcFactory {
            condition: condition.clone(),
            exprs: exprs.to_vec(),
            schema: schema.clone(),
            input: input.clone(),
            session: self.specs.session.clone(),
            on_error: self.on_error,
            statement: node.statement.identity.clone(),
        }
    }
}

fn made(factory: impl OperatorFactory + 'static) -> Role {
    Role::Operator(Arc::new(factory))
}

fn aggregate_factory(a: &Aggregation, stage: Stage) -> AggregateFactory {
    AggregateFactory {
        keys: a.keys.clone(),
        calls: a.calls.clone(),
        input: a.input.clone(),
        schema: a.schema.clone(),
        stage,
        retracts: a.retracts,
        at_end: a.at_end,
        ttl_millis: a.ttl_millis,
        update_before: a.update_before,
    }
}
