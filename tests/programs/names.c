/* What a program sees of names and interfaces, a line a fact. Built for both C libraries. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static const char *text_of(const struct sockaddr *address)
{
	static char text[INET6_ADDRSTRLEN];
	const void *raw = NULL;
	if (!address)
		return "-";
	if (address->sa_family == AF_INET)
		raw = &((const struct sockaddr_in *)address)->sin_addr;
	else if (address->sa_family == AF_INET6)
		raw = &((const struct sockaddr_in6 *)address)->sin6_addr;
	return raw ? inet_ntop(address->sa_family, raw, text, sizeof text) : "link";
}

static void by_getaddrinfo(const char *name, int family, int flags)
{
	struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
	struct addrinfo *list = NULL;
	int error = getaddrinfo(name, "80", &hints, &list);
	printf("getaddrinfo %d %d:", family == AF_INET ? 4 : family == AF_INET6 ? 6 : 0, error);
	for (struct addrinfo *one = error ? NULL : list; one; one = one->ai_next)
		printf(" %s/%d", text_of(one->ai_addr), ntohs(((struct sockaddr_in *)one->ai_addr)->sin_port));
	if (!error && list->ai_canonname)
		printf(" is %s", list->ai_canonname);
	puts("");
	if (!error)
		freeaddrinfo(list);
}

static void show_host(const char *call, const struct hostent *host, int error)
{
	char text[INET6_ADDRSTRLEN];
	printf("%s %d:", call, host ? 0 : error);
	if (host) {
		printf(" %s", host->h_name);
		for (char **one = host->h_addr_list; *one; one++)
			printf(" %s", inet_ntop(host->h_addrtype, *one, text, sizeof text));
	}
	puts("");
}

static void show_answer(const char *call, const unsigned char *answer, int len)
{
	printf("%s %d", call, len > 0 ? answer[7] : -h_errno);
	if (len > 4)
		printf(" %d.%d.%d.%d", answer[len - 4], answer[len - 3], answer[len - 2], answer[len - 1]);
	puts("");
}

static void look_up(const char *name)
{
	char buffer[2048], small[8];
	unsigned char answer[1500];
	struct hostent entry, *found;
	int error = 0;
	/* Often: what is freed wrongly shows. */
	for (int n = 0; n < 50; n++) {
		struct addrinfo *list;
		struct addrinfo hints = {.ai_flags = AI_CANONNAME};
		if (!getaddrinfo(name, NULL, &hints, &list))
			freeaddrinfo(list);
	}
	by_getaddrinfo(name, AF_UNSPEC, AI_CANONNAME);
	by_getaddrinfo(name, AF_INET, AI_ADDRCONFIG);
	by_getaddrinfo(name, AF_INET6, AI_V4MAPPED);
	show_host("gethostbyname", gethostbyname(name), h_errno);
	show_host("gethostbyname2", gethostbyname2(name, AF_INET), h_errno);
	int result = gethostbyname_r(name, &entry, buffer, sizeof buffer, &found, &error);
	show_host("gethostbyname_r", found, result ? result : error);
	result = gethostbyname2_r(name, AF_INET, &entry, small, sizeof small, &found, &error);
	printf("no room %d %d\n", result, found == NULL);
	const char *dot = strchr(name, '.');
	if (dot) {
		snprintf(buffer, sizeof buffer, "%.*s", (int)(dot - name), name);
		show_answer("res_querydomain", answer, res_querydomain(buffer, dot + 1, C_IN, ns_t_a, answer, sizeof answer));
	}
	show_answer("res_query", answer, res_query(name, C_IN, ns_t_a, answer, sizeof answer));
}

static void reverse(const char *text)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(80)};
	char host[NI_MAXHOST], service[NI_MAXSERV], few[4];
	inet_pton(AF_INET, text, &address.sin_addr);
	struct sockaddr *any = (struct sockaddr *)&address;
	int error = getnameinfo(any, sizeof address, host, sizeof host, service, sizeof service, NI_NUMERICSERV);
	printf("getnameinfo %d %s %s\n", error, error ? "-" : host, error ? "-" : service);
	error = getnameinfo(any, sizeof address, few, sizeof few, NULL, 0, 0);
	printf("no room %d\n", error == EAI_OVERFLOW);
	error = getnameinfo(any, sizeof address, host, sizeof host, NULL, 0, NI_NUMERICHOST);
	printf("numeric %d %s\n", error, host);
	show_host("gethostbyaddr", gethostbyaddr(&address.sin_addr, 4, AF_INET), h_errno);
}

static void interfaces(const char *name)
{
	struct ifaddrs *list;
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (getifaddrs(&list))
		exit(1);
	for (struct ifaddrs *one = list; one; one = one->ifa_next) {
		if (strcmp(one->ifa_name, name))
			continue;
		printf("getifaddrs %x", one->ifa_flags);
		if (one->ifa_addr->sa_family == AF_PACKET) {
			struct sockaddr_ll *link = (struct sockaddr_ll *)one->ifa_addr;
			printf(" %d", link->sll_ifindex == (int)if_nametoindex(name));
			for (int n = 0; n < link->sll_halen; n++)
				printf("%c%02x", n ? ':' : ' ', link->sll_addr[n]);
			puts("");
			continue;
		}
		printf(" %s", text_of(one->ifa_addr));
		printf(" %s", text_of(one->ifa_netmask));
		printf(" %s\n", text_of(one->ifa_broadaddr));
	}
	freeifaddrs(list);
	char back[IF_NAMESIZE];
	printf("if_indextoname %s\n", if_indextoname(if_nametoindex(name), back) ? back : "-");
	struct if_nameindex *all = if_nameindex();
	int count = 0, lo = 0;
	for (struct if_nameindex *one = all; one->if_index; one++) {
		count += !strcmp(one->if_name, name) && one->if_index == if_nametoindex(name);
		lo += !strcmp(one->if_name, "lo");
	}
	if_freenameindex(all);
	printf("if_nameindex %d %d\n", count, lo);
	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	printf("address %s\n", ioctl(fd, SIOCGIFADDR, &request) ? "-" : text_of(&request.ifr_addr));
	printf("netmask %s\n", ioctl(fd, SIOCGIFNETMASK, &request) ? "-" : text_of(&request.ifr_netmask));
	printf("broadcast %s\n", ioctl(fd, SIOCGIFBRDADDR, &request) ? "-" : text_of(&request.ifr_broadaddr));
	printf("mtu %d\n", ioctl(fd, SIOCGIFMTU, &request) ? -1 : request.ifr_mtu);
	printf("flags %x\n", ioctl(fd, SIOCGIFFLAGS, &request) ? -1 : (unsigned short)request.ifr_flags);
	printf("hardware %d\n", ioctl(fd, SIOCGIFHWADDR, &request) ? -1 : request.ifr_hwaddr.sa_family == ARPHRD_ETHER);
	printf("index %d\n", ioctl(fd, SIOCGIFINDEX, &request) ? -1 : request.ifr_ifindex == (int)if_nametoindex(name));
	struct ifreq requests[16];
	struct ifconf conf = {.ifc_len = sizeof requests, .ifc_req = requests};
	int seen = 0, error = ioctl(fd, SIOCGIFCONF, &conf);
	for (int n = 0; !error && n < conf.ifc_len / (int)sizeof *requests; n++)
		seen += !strcmp(requests[n].ifr_name, name);
	struct ifconf room = {0};
	printf("SIOCGIFCONF %d %d %d\n", error, seen, !ioctl(fd, SIOCGIFCONF, &room) && room.ifc_len == conf.ifc_len);
	/* An interface of the kernel's own is as it was. */
	printf("lo %d\n", if_nametoindex("lo"));
}

int main(int count, char **words)
{
	if (count != 3)
		return 2;
	if (!strcmp(words[1], "look_up"))
		look_up(words[2]);
	else if (!strcmp(words[1], "reverse"))
		reverse(words[2]);
	else
		interfaces(words[2]);
	return 0;
}
