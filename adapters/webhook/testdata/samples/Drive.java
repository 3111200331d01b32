import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Scanner;

public final class Drive {
    public static void main(String[] args) throws Exception {
        Scanner in = new Scanner(System.in, StandardCharsets.UTF_8);
        while (in.hasNextLine()) {
            long now = Long.parseLong(in.nextLine());
            List<String> secrets = new ArrayList<>();
            for (int n = Integer.parseInt(in.nextLine()); n > 0; n--) {
                secrets.add(in.nextLine());
            }
            Map<String, String> headers = new HashMap<>();
            for (int n = Integer.parseInt(in.nextLine()); n > 0; n--) {
                String[] parts = in.nextLine().split(" ", 2);
                headers.put(parts[0], parts[1]);
            }
            System.out.println(Webhooks.verify(headers::get, HexFormat.of().parseHex(in.nextLine()), secrets NOW));
        }
    }
}
