import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;

/** Runs a script of SQL in a Flink of its own, and tells the milliseconds that each INSERT took without the start. */
public final class Run {
    public static void main(String[] arguments) throws Exception {
        TableEnvironment t = TableEnvironment.create(EnvironmentSettings.inStreamingMode());
        for (String statement : Files.readString(Path.of(arguments[0])).split(";\\s*\n")) {
            if (statement.startsWith("SET")) {
                String[] parts = statement.split("'");
                t.getConfig().set(parts[1], parts[3]);
            } else if (!statement.isBlank()) {
                TableResult result = t.executeSql(statement);
                if (statement.startsWith("INSERT")) {
                    System.err.println("net " + result.getJobClient().get().getJobExecutionResult().get().getNetRuntime());
                }
            }
        }
    }
}
