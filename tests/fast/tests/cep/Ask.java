// Asks Flink's CEP library for the matches of `A B+ C` in the rows of each key, and for those that time out. `next.txt` and `past.txt`
// are what Flink 2.3.0 gave:
//
//   javac -cp "FLINK/lib/*" Ask.java && java --add-opens java.base/java.util=ALL-UNNAMED -cp "FLINK/lib/*:." Ask rows.csv next 8 next.txt
import java.nio.file.*;
import java.time.Duration;
import java.util.*;
import org.apache.flink.api.common.eventtime.*;
import org.apache.flink.api.common.typeinfo.*;
import org.apache.flink.api.java.tuple.Tuple3;
import org.apache.flink.cep.*;
import org.apache.flink.cep.functions.*;
import org.apache.flink.cep.nfa.aftermatch.AfterMatchSkipStrategy;
import org.apache.flink.cep.pattern.*;
import org.apache.flink.cep.pattern.conditions.*;
import org.apache.flink.streaming.api.datastream.*;
import org.apache.flink.streaming.api.environment.*;
import org.apache.flink.util.*;

public class Ask {
    static final OutputTag<String> TIMED_OUT = new OutputTag<String>("timed out") {};

    /** A row: its key, its time in seconds, its value. */
    public static class Row extends Tuple3<String, Long, Long> {
        public Row() {}
        Row(String key, long seconds, long value) { super(key, seconds, value); }
    }

    interface Condition { boolean holds(long value, long first); }

    static IterativeCondition<Row> where(boolean asksFirst, SerializableCondition c) {
        return new IterativeCondition<Row>() {
            @Override public boolean filter(Row r, Context<Row> context) throws Exception {
                return c.holds(r.f2, asksFirst ? context.getEventsForPattern("A").iterator().next().f2 : 0);
            }
        };
    }

    interface SerializableCondition extends Condition, java.io.Serializable {}

    static String shown(Map<String, List<Row>> rows) {
        StringBuilder out = new StringBuilder(rows.values().iterator().next().get(0).f0);
        for (String variable : List.of("A", "B", "C")) {
            out.append(";").append(variable);
            for (Row r : rows.getOrDefault(variable, List.of())) out.append(" ").append(r.f1).append(":").append(r.f2);
        }
        return out.toString();
    }

    public static class Found extends PatternProcessFunction<Row, String> implements TimedOutPartialMatchHandler<Row> {
        @Override public void processMatch(Map<String, List<Row>> rows, Context context, Collector<String> out) {
            out.collect("match;" + shown(rows));
        }
        @Override public void processTimedOutMatch(Map<String, List<Row>> rows, Context context) {
            context.output(TIMED_OUT, "timeout;" + shown(rows) + ";at " + context.timestamp() / 1000);
        }
    }

    /** A watermark behind each row, so that time passes in small steps. */
    static class EachRow implements WatermarkGenerator<Row> {
        @Override public void onEvent(Row r, long time, WatermarkOutput out) { out.emitWatermark(new Watermark(time - 1)); }
        @Override public void onPeriodicEmit(WatermarkOutput out) {}
    }

    public static void main(String[] args) throws Exception {
        List<Row> rows = new ArrayList<>();
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            String[] parts = line.split(",");
            rows.add(new Row(parts[0], Long.parseLong(parts[1]), Long.parseLong(parts[2])));
        }
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        env.setParallelism(1);
        DataStream<Row> in = env.fromData(rows, TypeInformation.of(Row.class)).assignTimestampsAndWatermarks(
            WatermarkStrategy.<Row>forGenerator(c -> new EachRow()).withTimestampAssigner((r, t) -> r.f1 * 1000));
        AfterMatchSkipStrategy skip =
            args[1].equals("past") ? AfterMatchSkipStrategy.skipPastLastEvent() : AfterMatchSkipStrategy.skipToNext();
        Pattern<Row, Row> pattern = Pattern.<Row>begin("A", skip).where(where(false, (v, a) -> v > 50))
            .next("B").where(where(true, (v, a) -> v < a)).oneOrMore().consecutive().greedy()
            .next("C").where(where(true, (v, a) -> v >= a))
            .within(Duration.ofSeconds(Long.parseLong(args[2])));
        SingleOutputStreamOperator<String> out = CEP.pattern(in.keyBy(r -> r.f0), pattern).inEventTime().process(new Found());
        List<String> all = new ArrayList<>();
        try (CloseableIterator<String> i = out.union(out.getSideOutput(TIMED_OUT)).executeAndCollect()) {
            i.forEachRemaining(all::add);
        }
        Collections.sort(all);
        Files.write(Path.of(args[3]), all);
    }
}
