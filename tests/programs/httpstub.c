/* The smallest web server there can be, in the manner of the SDK of 2016: one process, blocking calls, one request a
 * connection. It answers with the request's first words and the client's address. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Reads up to the empty line that ends the head; 0 when the client went away first. */
static int read_head(int client, char *head, size_t size)
{
	size_t length = 0;
	while (length + 1 < size) {
		ssize_t count = read(client, head + length, size - 1 - length);
		if (count <= 0)
			return 0;
		length += (size_t)count;
		head[length] = 0;
		if (strstr(head, "\r\n\r\n"))
			return 1;
	}
	return 0;
}

static void answer(int client, const struct sockaddr_in *from)
{
	char head[4096], verb[16], path[256], body[512], text[1024], address[INET_ADDRSTRLEN];
	if (!read_head(client, head, sizeof head) || sscanf(head, "%15s %255s", verb, path) != 2)
		return;
	inet_ntop(AF_INET, &from->sin_addr, address, sizeof address);
	int length = snprintf(body, sizeof body, "%s %s of %s\n", verb, path, address);
	int size = snprintf(text, sizeof text,
		"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", length, body);
	for (int sent = 0; sent < size;) {
		ssize_t count = write(client, text + sent, (size_t)(size - sent));
		if (count <= 0)
			return;
		sent += (int)count;
	}
	shutdown(client, SHUT_WR);
	while (read(client, head, sizeof head) > 0)
		;
}

int main(int count, char **arguments)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	if (count != 2 || listener < 0)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	at.sin_port = htons((unsigned short)atoi(arguments[1]));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 128)) {
		perror("httpstub");
		return 1;
	}
	for (;;) {
		struct sockaddr_in from;
		socklen_t size = sizeof from;
		int client = accept(listener, (struct sockaddr *)&from, &size);
		if (client < 0) {
			perror("accept");
			continue;
		}
		answer(client, &from);
		close(client);
	}
}
