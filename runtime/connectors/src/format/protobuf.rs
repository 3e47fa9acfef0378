//! Protocol Buffers: messages of a type that a descriptor or a .proto file declares.

use super::{DecodeError, Decoder, Encoder, Format, IGNORE_ERRORS, RowBuilder, decoders, encoders};
use crate::options::TableSpec;
use prost_reflect::prost::Message;
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage,
    Value as Pb,
};
use std::collections::HashMap;
use weir_core::descriptor::Descriptor;
use weir_core::option_spec::{Opt, Role};
use weir_core::{Batch, Error, Field, Result, SqlType, TypeKind, Value, options};

pub(super) const FORMAT: Format = Format {
    descriptor: &Descriptor {
        name: "protobuf",
        help: "messages of a type that a descriptor or a .proto file declares",
        options: &[OPTIONS, super::IGNORING],
        lines: false,
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH (
  'connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'broker:9092',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'protobuf',
  'protobuf.descriptor-file' = 'person.proto', 'protobuf.message-class-name' = 'Person'
)",
        ..Descriptor::FORMAT
    },
    decoder: |t| Ok(decoders(ProtobufReader::new(t)?)),
    encoder: |t| Ok(encoders(ProtobufWriter::new(t)?)),
    dialect: None,
    extension: "pb",
};

options! {
    OPTIONS:
    FILE: String =
        Opt::text("descriptor-file", "a descriptor set from `protoc --include_imports`, or the .proto file itself").required();
    MESSAGE: String = Opt::text("message-class-name", "the full name of the message type").required();
    DEFAULTS: bool = Opt::boolean(
        "read-default-values",
        "whether a field that is not set is read as its default value rather than NULL; a field without presence always is",
    )
    .default("false");
    NULL_TEXT: String =
        Opt::text("write-null-string-literal", "the text to write for a NULL string inside a collection").default("").of(&[Role::Sink]);
}

/// A message type, and the field of each column.
#[derive(Clone)]
struct Layout {
    message: MessageDescriptor,
    columns: Vec<(FieldDescriptor, Field)>,
    defaults: bool,
}

/// The message types that the file of the table's option declares.
fn pool(table: &TableSpec) -> Result<DescriptorPool> {
    let path = table.base.join(table.value(&FILE)?);
    let wrong = |e: String| {
        let e = format!("'{}': {}: {e}", table.key_of(&FILE), path.display());
        Error::script(e).at(table.place_of(&FILE))
    };
    if path.extension().is_some_and(|e| e == "proto") {
        let folder = path.parent().unwrap_or(&table.base);
        let mut compiler = protox::Compiler::new([folder]).map_err(|e| wrong(e.to_string()))?;
        compiler.open_file(&path).map_err(|e| wrong(format!("{e:?}")))?;
        return Ok(compiler.descriptor_pool());
    }
    let bytes = std::fs::read(&path).map_err(|e| wrong(e.to_string()))?;
    DescriptorPool::decode(bytes.as_slice()).map_err(|e| {
        wrong(format!("it is no set of descriptors: {e}"))
            .hint("make it by `protoc --include_imports --descriptor_set_out=FILE`, or name the .proto file itself")
    })
}

fn layout(table: &TableSpec, fields: &[Field]) -> Result<Layout> {
    let pool = pool(table)?;
    // The name of a nested class in Java has a dollar sign where protobuf has a dot.
    let name = table.value(&MESSAGE)?.replace('$', ".");
    let Some(message) = pool.get_message_by_name(&name) else {
        let known: Vec<String> =
            pool.all_messages().map(|m| m.full_name().to_string()).filter(|n| !n.starts_with("google.")).collect();
        let e = Error::script(format!("there is no message '{name}' in the descriptor")).at(table.place_of(&MESSAGE));
        return Err(match weir_core::error::nearest(&name, known.iter().map(String::as_str)) {
            Some(n) => e.hint(format!("did you mean '{n}'?")),
            None => e.hint(format!("there are: {}", known.join(", "))),
        });
    };
    let defaults = table.value(&DEFAULTS)?;
    let columns = columns(&message, fields).map_err(|why| Error::script(why).at(table.place))?;
    Ok(Layout { message, columns, defaults })
}

fn columns(
    message: &MessageDescriptor,
    fields: &[Field],
) -> std::result::Result<Vec<(FieldDescriptor, Field)>, String> {
    let one = |f: &Field| {
        let found = message.get_field_by_name(&f.name).ok_or_else(|| {
            let known: Vec<String> = message.fields().map(|f| f.name().to_string()).collect();
            format!("the message '{}' has no field '{}'; it has: {}", message.full_name(), f.name, known.join(", "))
        })?;
        check(&found, &f.ty).map_err(|()| {
            let many = if found.cardinality() == Cardinality::Repeated { "repeated " } else { "" };
            format!("the field '{}' is {many}{:?} and no {}", f.name, found.kind(), f.ty.kind)
        })?;
        Ok((found, f.clone()))
    };
    fields.iter().map(one).collect()
}

fn check(field: &FieldDescriptor, ty: &SqlType) -> std::result::Result<(), ()> {
    let good = |yes: bool| if yes { Ok(()) } else { Err(()) };
    match (&ty.kind, field.kind()) {
        (TypeKind::Map(k, v), Kind::Message(entry)) if field.is_map() => {
            single(&entry.map_entry_key_field().kind(), k)?;
            single(&entry.map_entry_value_field().kind(), v)
        }
        (TypeKind::Array(e), kind) if field.is_list() => single(&kind, e),
        (_, kind) => {
            good(!field.is_list() && !field.is_map())?;
            single(&kind, ty)
        }
    }
}

fn single(kind: &Kind, ty: &SqlType) -> std::result::Result<(), ()> {
    let fits = match kind {
        Kind::Bool => ty.kind == TypeKind::Boolean,
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => matches!(ty.kind, TypeKind::Int | TypeKind::BigInt),
        Kind::Uint32 | Kind::Fixed32 => matches!(ty.kind, TypeKind::Int | TypeKind::BigInt),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => ty.kind == TypeKind::BigInt,
        Kind::Float => matches!(ty.kind, TypeKind::Float | TypeKind::Double),
        Kind::Double => ty.kind == TypeKind::Double,
        Kind::String => ty.is_text(),
        Kind::Bytes => ty.is_bytes(),
        Kind::Enum(_) => ty.is_text() || ty.kind == TypeKind::Int,
        Kind::Message(m) => match &ty.kind {
            TypeKind::Row(fields) => columns(m, fields).is_ok(),
            _ => false,
        },
    };
    if fits { Ok(()) } else { Err(()) }
}

fn from_pb(v: &Pb, kind: &Kind, ty: &SqlType, defaults: bool) -> std::result::Result<Value<'static>, String> {
    let large = |n: u64| format!("{n} is no {}", ty.kind);
    Ok(match (v, &ty.kind) {
        (Pb::Bool(b), _) => Value::Bool(*b),
        (Pb::I32(i), _) => Value::Int(i64::from(*i)),
        (Pb::I64(i), _) => Value::Int(*i),
        (Pb::U32(u), TypeKind::Int) => Value::Int(i64::from(i32::try_from(*u).map_err(|_| large(u64::from(*u)))?)),
        (Pb::U32(u), _) => Value::Int(i64::from(*u)),
        (Pb::U64(u), _) => Value::Int(i64::try_from(*u).map_err(|_| large(*u))?),
        (Pb::F32(f), TypeKind::Double) => Value::Double(f64::from(*f)),
        (Pb::F32(f), _) => Value::Float(*f),
        (Pb::F64(d), _) => Value::Double(*d),
        (Pb::String(s), _) => Value::string(s.clone()),
        (Pb::Bytes(b), _) => Value::Bytes(b.to_vec().into()),
        (Pb::EnumNumber(n), TypeKind::Int) => Value::Int(i64::from(*n)),
        (Pb::EnumNumber(n), _) => {
            let name = kind.as_enum().and_then(|e| e.get_value(*n)).map(|v| v.name().to_string());
            Value::string(name.ok_or_else(|| format!("there is no value {n} in the enum"))?)
        }
        (Pb::Message(m), TypeKind::Row(fields)) => {
            let columns = columns(&m.descriptor(), fields)?;
            Value::Row(
                columns.iter().map(|(d, f)| field(m, d, &f.ty, defaults)).collect::<std::result::Result<_, _>>()?,
            )
        }
        (Pb::List(items), TypeKind::Array(e)) => {
            Value::List(items.iter().map(|v| from_pb(v, kind, e, defaults)).collect::<std::result::Result<_, _>>()?)
        }
        (Pb::Map(items), TypeKind::Map(k, e)) => {
            let entry = kind.as_message().ok_or("a map without entries")?;
            let (of_key, of_value) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
            let pair = |(key, v): (&MapKey, &Pb)| {
                Ok((from_pb(&Pb::from(key.clone()), &of_key, k, defaults)?, from_pb(v, &of_value, e, defaults)?))
            };
            Value::Map(items.iter().map(pair).collect::<std::result::Result<_, String>>()?)
        }
        _ => return Err(format!("it is no {}", ty.kind)),
    })
}

/// The value of a message's field: NULL if it has presence and is not set.
fn field(
    m: &DynamicMessage,
    d: &FieldDescriptor,
    ty: &SqlType,
    defaults: bool,
) -> std::result::Result<Value<'static>, String> {
    if d.supports_presence() && !m.has_field(d) && (!defaults || matches!(d.kind(), Kind::Message(_))) {
        return Ok(Value::Null);
    }
    from_pb(&m.get_field(d), &d.kind(), ty, defaults).map_err(|why| format!("field '{}': {why}", d.name()))
}

/// Reads messages.
#[derive(Clone)]
pub(crate) struct ProtobufReader {
    layout: Layout,
    ignore_errors: bool,
}

impl ProtobufReader {
    pub fn new(table: &TableSpec) -> Result<Self> {
        Ok(ProtobufReader {
            layout: layout(table, &table.projected().fields)?,
            ignore_errors: table.value(&IGNORE_ERRORS)?,
        })
    }

    fn read(&self, record: &[u8]) -> std::result::Result<Vec<Value<'static>>, String> {
        let message = DynamicMessage::decode(self.layout.message.clone(), record)
            .map_err(|e| format!("it is no {}: {e}", self.layout.message.full_name()))?;
        self.layout.columns.iter().map(|(d, f)| field(&message, d, &f.ty, self.layout.defaults)).collect()
    }
}

impl Decoder for ProtobufReader {
    fn record(&mut self, record: &[u8], rows: &mut RowBuilder) -> std::result::Result<(), DecodeError> {
        match self.read(record) {
            Ok(values) => rows.push(&values),
            Err(_) if self.ignore_errors => rows.skipped += 1,
            Err(why) => return Err(why.into()),
        }
        Ok(())
    }
}

/// Writes messages.
#[derive(Clone)]
pub(crate) struct ProtobufWriter {
    layout: Layout,
    null_text: String,
}

impl ProtobufWriter {
    pub fn new(table: &TableSpec) -> Result<Self> {
        Ok(ProtobufWriter { layout: layout(table, &table.schema.fields)?, null_text: table.value(&NULL_TEXT)? })
    }

    /// Converts a value to a field's value; none for NULL.
    fn value(&self, v: &Value<'_>, kind: &Kind, ty: &SqlType) -> std::result::Result<Option<Pb>, String> {
        let mistaken = || format!("{} is no {kind:?}", ty.kind);
        Ok(Some(match (v, kind) {
            (Value::Null, _) => return Ok(None),
            (Value::Bool(b), _) => Pb::Bool(*b),
            (Value::Int(i), Kind::Int32 | Kind::Sint32 | Kind::Sfixed32) => {
                Pb::I32(i32::try_from(*i).map_err(|_| format!("{i} is no int32"))?)
            }
            (Value::Int(i), Kind::Uint32 | Kind::Fixed32) => {
                Pb::U32(u32::try_from(*i).map_err(|_| format!("{i} is no uint32"))?)
            }
            (Value::Int(i), Kind::Uint64 | Kind::Fixed64) => {
                Pb::U64(u64::try_from(*i).map_err(|_| format!("{i} is no uint64"))?)
            }
            (Value::Int(i), Kind::Enum(e)) => {
                Pb::EnumNumber(i32::try_from(*i).map_err(|_| format!("{i} is no value of {}", e.full_name()))?)
            }
            (Value::Int(i), Kind::Int64 | Kind::Sint64 | Kind::Sfixed64) => Pb::I64(*i),
            (Value::Float(f), Kind::Float) => Pb::F32(*f),
            (Value::Double(d), Kind::Float) => Pb::F32(*d as f32),
            (Value::Float(f), Kind::Double) => Pb::F64(f64::from(*f)),
            (Value::Double(d), Kind::Double) => Pb::F64(*d),
            (Value::Text(t), Kind::Enum(e)) => {
                let found = e.get_value_by_name(t).ok_or_else(|| format!("there is no '{t}' in {}", e.full_name()))?;
                Pb::EnumNumber(found.number())
            }
            (Value::Text(t), _) => Pb::String(t.to_string()),
            (Value::Bytes(b), _) => Pb::Bytes(b.to_vec().into()),
            (Value::Row(items), Kind::Message(m)) => {
                let TypeKind::Row(fields) = &ty.kind else { return Err(mistaken()) };
                Pb::Message(self.message(m, &columns(m, fields)?, items)?)
            }
            (Value::List(items), _) => {
                let TypeKind::Array(e) = &ty.kind else { return Err(mistaken()) };
                let item = |v| Ok(self.value(v, kind, e)?.unwrap_or_else(|| self.nothing(kind)));
                Pb::List(items.iter().map(item).collect::<std::result::Result<_, String>>()?)
            }
            (Value::Map(items), Kind::Message(entry)) => {
                let TypeKind::Map(k, e) = &ty.kind else { return Err(mistaken()) };
                let (of_key, of_value) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
                let mut map = HashMap::new();
                for (key, v) in items {
                    let key = self.value(key, &of_key, k)?.unwrap_or_else(|| self.nothing(&of_key));
                    let key = key.into_map_key().ok_or("it is no key of a map")?;
                    map.insert(key, self.value(v, &of_value, e)?.unwrap_or_else(|| self.nothing(&of_value)));
                }
                Pb::Map(map)
            }
            _ => return Err(mistaken()),
        }))
    }

    /// The value that stands for NULL where a message must have one.
    fn nothing(&self, kind: &Kind) -> Pb {
        match kind {
            Kind::String => Pb::String(self.null_text.clone()),
            k => Pb::default_value(k),
        }
    }

    fn message(
        &self,
        m: &MessageDescriptor,
        columns: &[(FieldDescriptor, Field)],
        values: &[Value<'_>],
    ) -> std::result::Result<DynamicMessage, String> {
        let mut message = DynamicMessage::new(m.clone());
        for ((d, f), v) in columns.iter().zip(values) {
            let value = self.value(v, &d.kind(), &f.ty).map_err(|why| format!("field '{}': {why}", f.name))?;
            if let Some(v) = value {
                message.set_field(d, v);
            }
        }
        Ok(message)
    }
}

impl Encoder for ProtobufWriter {
    fn encode(&mut self, batch: &Batch, row: usize, columns: &[usize], out: &mut Vec<u8>) -> Result<()> {
        let values: Vec<Value<'_>> = columns.iter().map(|c| Value::read(batch.data.column(*c), row)).collect();
        let message = self.message(&self.layout.message, &self.layout.columns, &values);
        let message = message.map_err(|why| Error::data(format!("a row does not fit the message: {why}")))?;
        message.encode(out).map_err(|e| Error::internal(e.to_string()).with_source(e))
    }
}
