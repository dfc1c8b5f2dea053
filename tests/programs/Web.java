// The web server and the web client of Java's own library.
//
//   Web server PORT
//   Web client URL
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.Executors;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

public class Web {
    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("server")) {
            server(Integer.parseInt(arguments[1]));
        } else {
            client(URI.create(arguments[1]));
        }
    }

    static String digest(byte[] data) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(data));
    }

    static void server(int port) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 128);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", Web::answer);
        server.start();
        System.out.println("listening");
    }

    static void answer(HttpExchange exchange) throws IOException {
        try (exchange) {
            byte[] body = exchange.getRequestBody().readAllBytes();
            String peer = exchange.getRemoteAddress().getAddress().getHostAddress();
            boolean post = exchange.getRequestMethod().equals("POST");
            byte[] text = (post ? digest(body) : "GET of " + peer).getBytes();
            exchange.sendResponseHeaders(200, text.length);
            exchange.getResponseBody().write(text);
        } catch (IOException failed) {
            throw failed;
        } catch (Exception failed) {
            throw new IOException(failed);
        }
    }

    static void client(URI uri) throws Exception {
        HttpClient web = HttpClient.newHttpClient();
        HttpRequest get = HttpRequest.newBuilder(uri).build();
        Set<String> answers = IntStream.range(0, 100)
            .mapToObj(n -> web.sendAsync(get, BodyHandlers.ofString()))
            .collect(Collectors.toList()).stream()
            .map(answer -> answer.join().body()).collect(Collectors.toSet());
        System.out.println("100 answers: " + String.join(", ", answers));
        byte[] data = new byte[4 << 20];
        new Random(1).nextBytes(data);
        HttpRequest post = HttpRequest.newBuilder(uri).POST(BodyPublishers.ofByteArray(data)).build();
        boolean equal = web.send(post, BodyHandlers.ofString()).body().equals(digest(data));
        System.out.println("posted " + data.length + " bytes: " + (equal ? "equal" : "different"));
        try {
            URI nobody = new URI("http", null, uri.getHost(), 9, "/", null, null);
            web.send(HttpRequest.newBuilder(nobody).build(), BodyHandlers.ofString());
        } catch (IOException refused) {
            System.out.println("refused: " + refused.getClass().getName());
        }
        System.exit(0);
    }
}
