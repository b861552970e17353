// A typical reverse proxy in Go: ReverseProxy from the standard library, with x/oauth2 as its transport.
//
//	proxy LISTEN UPSTREAM TOKEN_URL
package main

import (
	"context"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

const size = 32 * 1024

// The buffers through which responses are copied.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte       { return b.pool.Get().(*[size]byte)[:] }
func (b *buffers) Put(buffer []byte) { b.pool.Put((*[size]byte)(buffer)) }

func main() {
	upstream, err := url.Parse(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	credentials := clientcredentials.Config{
		ClientID:     "client",
		ClientSecret: "secret",
		TokenURL:     os.Args[3],
		AuthStyle:    oauth2.AuthStyleInHeader,
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.MaxIdleConns = 0
	transport.MaxIdleConnsPerHost = 1024
	transport.DisableCompression = true
	proxy := httputil.NewSingleHostReverseProxy(upstream)
	proxy.Transport = &oauth2.Transport{Source: credentials.TokenSource(context.Background()), Base: transport}
	proxy.BufferPool = &buffers{sync.Pool{New: func() any { return new([size]byte) }}}
	server := http.Server{Addr: os.Args[1], Handler: proxy, ReadHeaderTimeout: 30 * time.Second}
	log.Fatal(server.ListenAndServe())
}
