// golang.org/x/oauth2's clientcredentials.Config.Client. The lines on standard input and output are those of `python/drive.py`.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2/clientcredentials"
)

const (
	chunks     = 100
	chunkBytes = 10_000
	chunkPause = 2 * time.Millisecond
)

type body struct{ left int }

func (b *body) Read(into []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	b.left--
	time.Sleep(chunkPause)
	return copy(into, strings.Repeat("x", chunkBytes)), nil
}

func main() {
	base := os.Getenv("COMPARE_URL")
	config := clientcredentials.Config{
		ClientID: "compare-client", ClientSecret: os.Getenv("COMPARE_SECRET"), TokenURL: base + "/token",
	}
	client := config.Client(context.Background())

	var printing sync.Mutex
	report := func(answer interface{}) {
		printing.Lock()
		defer printing.Unlock()
		fmt.Println(answer)
	}
	one := func(send func() (*http.Response, error)) {
		response, err := send()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			report("error")
			return
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
		report(response.StatusCode)
	}
	get := func() (*http.Response, error) { return client.Get(base + "/api") }
	upload := func() (*http.Response, error) {
		return client.Post(base+"/api", "application/octet-stream", bufio.NewReaderSize(&body{chunks}, chunkBytes))
	}

	report("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var name string
		var count, rate int
		fmt.Sscan(lines.Text(), &name, &count, &rate)
		var running sync.WaitGroup
		start := time.Now()
		for turn := 0; turn < count; turn++ {
			switch name {
			case "in-turn":
				one(get)
				continue
			case "paced":
				time.Sleep(time.Until(start.Add(time.Duration(turn) * time.Second / time.Duration(rate))))
			}
			running.Add(1)
			go func() {
				defer running.Done()
				one(get)
			}()
		}
		running.Wait()
		if name == "upload" {
			one(upload)
		}
	}
}
