// SPDX-License-Identifier: Apache-2.0

// Command evaluation serves, or is, the ordinary clients of scripts/evaluate.sh.
//
//	evaluation serve ADDRESS
//	evaluation clients ADDRESS DURATION CLIENTS...
//
// Each client address does what its place in the list says, from request loops to health checks.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Ports of the servers. 22 is sshd, and the three closed ones have nobody.
const (
	web, slowWeb, syslog, chat = 80, 8080, 514, 9001
)

var closed = []int{81, 443, 3306}

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		serve(os.Args[2])
	case len(os.Args) > 4 && os.Args[1] == "clients":
		duration, err := time.ParseDuration(os.Args[3])
		if err != nil {
			log.Fatal(err)
		}
		play(os.Args[2], duration, os.Args[4:])
	default:
		log.Fatal("usage: evaluation serve ADDRESS | clients ADDRESS DURATION CLIENTS...")
	}
}

func serve(address string) {
	listen := func(port int) net.Listener {
		l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		if err != nil {
			log.Fatal(err)
		}
		return l
	}
	page := strings.Repeat("a page ", 600)
	answer := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		n := 1 + rand.IntN(len(page))
		_, _ = io.WriteString(w, page[:n])
	}
	// The second server waits for bodies for as long as they take.
	for _, port := range []int{web, slowWeb} {
		go func() { log.Fatal(http.Serve(listen(port), http.HandlerFunc(answer))) }()
	}
	go each(listen(syslog), func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	each(listen(chat), func(c net.Conn) {
		_, _ = io.WriteString(c, "welcome\n")
		_, _ = io.Copy(io.Discard, c)
	})
}

func each(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}

// client is an ordinary client with an address of its own.
type client struct {
	address, server string
	http            *http.Client
	end             time.Time
}

func play(server string, duration time.Duration, clients []string) {
	behaviours := []func(*client){
		(*client).requests, (*client).keepAlive, (*client).tcpChecks, (*client).httpChecks, (*client).crawl,
		(*client).chats, (*client).logs, (*client).monitor, (*client).banners, (*client).bursts, (*client).requests, (*client).people,
	}
	var all sync.WaitGroup
	for i, address := range clients {
		c := &client{address: address, server: server, end: time.Now().Add(duration)}
		c.http = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: c.dialer().DialContext, DisableKeepAlives: true}}
		all.Go(func() {
			time.Sleep(time.Duration(rand.IntN(5000)) * time.Millisecond)
			behaviours[i%len(behaviours)](c)
		})
	}
	all.Wait()
}

func (c *client) dialer() *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.address)}, Timeout: 3 * time.Second}
}

func (c *client) over() bool { return time.Now().After(c.end) }

func pause(most time.Duration) { time.Sleep(most/4 + time.Duration(rand.Int64N(int64(most)*3/4))) }

func (c *client) dial(port int) (net.Conn, error) {
	return c.dialer().Dial("tcp", net.JoinHostPort(c.server, strconv.Itoa(port)))
}

func (c *client) get(via *http.Client) {
	answer, err := via.Get(fmt.Sprintf("http://%s:%d/%d", c.server, web, rand.IntN(100)))
	if err != nil {
		return // a client's luck
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
}

func (c *client) requests() {
	for !c.over() {
		c.get(c.http)
		pause(2 * time.Second)
	}
}

func (c *client) keepAlive() {
	via := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: c.dialer().DialContext}}
	for !c.over() {
		c.get(via)
		pause(time.Second)
	}
}

func (c *client) tcpChecks() {
	for !c.over() {
		if conn, err := c.dial(web); err == nil {
			_ = conn.Close()
		}
		time.Sleep(time.Second)
	}
}

func (c *client) httpChecks() {
	for !c.over() {
		c.get(c.http)
		time.Sleep(time.Second)
	}
}

func (c *client) crawl() {
	for !c.over() {
		c.get(c.http)
		pause(80 * time.Millisecond)
	}
}

// hold keeps connections open, and sends a little on each.
func (c *client) hold(port, connections, bytes int, every time.Duration) {
	var all []net.Conn
	for range connections {
		if conn, err := c.dial(port); err == nil {
			all = append(all, conn)
		}
	}
	for !c.over() {
		for _, conn := range all {
			_, _ = conn.Write(make([]byte, bytes))
		}
		pause(every)
	}
	for _, conn := range all {
		_ = conn.Close()
	}
}

func (c *client) chats() { c.hold(chat, 10, 9, 10*time.Second) }

func (c *client) logs() { c.hold(syslog, 1+rand.IntN(3), 300, time.Second) }

func (c *client) monitor() {
	for !c.over() {
		for _, port := range closed {
			if conn, err := c.dial(port); err == nil {
				_ = conn.Close()
			}
		}
		c.get(c.http)
		time.Sleep(5 * time.Second)
	}
}

func (c *client) banners() {
	for !c.over() {
		if conn, err := c.dial(22); err == nil {
			_, _ = bufio.NewReader(conn).ReadString('\n')
			_ = conn.Close()
		}
		time.Sleep(time.Second)
	}
}

// bursts is a benchmark that somebody runs now and then.
func (c *client) bursts() {
	for !c.over() {
		for range 300 {
			c.get(c.http)
		}
		pause(10 * time.Second)
	}
}

// people are many behind one address.
func (c *client) people() {
	var all sync.WaitGroup
	for range 40 {
		all.Go(c.requests)
	}
	all.Wait()
}
