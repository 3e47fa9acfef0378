import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ScalarFunction;

/** The function of examples/cdn-log-analysis in Java: a binary search over the ranges of the file that the property `regions` names. */
public final class IpToProvince extends ScalarFunction {
    private transient long[] first;
    private transient String[] region;

    @Override
    public void open(FunctionContext context) throws IOException {
        List<String> lines = Files.readAllLines(Path.of(System.getProperty("regions")));
        first = new long[lines.size()];
        region = new String[lines.size()];
        for (int i = 0; i < first.length; i++) {
            String[] parts = lines.get(i).split(",", 3);
            first[i] = Long.parseLong(parts[0]);
            region[i] = parts[2];
        }
    }

    public String eval(String ip) {
        long address = 0, part = 0;
        for (int i = 0; i < ip.length(); i++) {
            char c = ip.charAt(i);
            if (c == '.') {
                address = address << 8 | part;
                part = 0;
            } else {
                part = part * 10 + c - '0';
            }
        }
        address = address << 8 | part;
        int from = 0, to = first.length;
        while (from < to) {
            int middle = (from + to) >>> 1;
            if (first[middle] <= address) {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        return from == 0 ? null : region[from - 1];
    }
}
