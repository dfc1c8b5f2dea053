// Looks up names by Go's own resolver: lookup NAME-OR-ADDRESS…
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	resolver := net.Resolver{PreferGo: true}
	limit, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	for _, word := range os.Args[1:] {
		look := resolver.LookupHost
		if net.ParseIP(word) != nil {
			look = resolver.LookupAddr
		}
		found, err := look(limit, word)
		fmt.Println(word, found, err == nil)
	}
}
