// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// watching runs the command in this process, and hands over its lines.
type watching struct {
	t     *testing.T
	lines *bufio.Scanner
	out   *io.PipeReader
	errs  strings.Builder
	stop  context.CancelFunc
	done  chan int
}

func startWatch(t *testing.T, args ...string) *watching {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	out, in := io.Pipe()
	w := &watching{t: t, lines: bufio.NewScanner(out), out: out, stop: stop, done: make(chan int, 1)}
	go func() {
		code := run(ctx, append([]string{"watch"}, args...), in, &w.errs)
		in.Close()
		w.done <- code
	}()
	return w
}

// until reads lines until one has all texts.
func (w *watching) until(texts ...string) string {
	w.t.Helper()
	for w.lines.Scan() {
		found := true
		for _, text := range texts {
			found = found && strings.Contains(w.lines.Text(), text)
		}
		if found {
			return w.lines.Text()
		}
	}
	require.Fail(w.t, "the output ended", "without %q: %s", texts, w.errs.String())
	return ""
}

// ready waits until connections are seen: it connects until a line says so.
func (w *watching) ready(address string) {
	w.t.Helper()
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if c, err := net.Dial("tcp", address); err == nil {
				c.Close()
			}
		}
	}()
	w.until(port(address))
	close(stop)
	<-ended
}

func (w *watching) end() {
	w.t.Helper()
	w.stop()
	_, _ = io.Copy(io.Discard, w.out)
	assert.Equal(w.t, exitOK, <-w.done, w.errs.String())
}

func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}

func serve(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprint(w, "hello")
	}))
	t.Cleanup(s.Close)
	return s
}

func TestWatch(t *testing.T) {
	s := serve(t)
	address := s.Listener.Addr().String()
	w := startWatch(t, "-port", port(address), "-http", port(address))
	w.ready(address)
	answer, err := http.Get(s.URL + "/answered")
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	line := w.until(" request ", "GET /answered")
	assert.Contains(t, line, " 200 ")
	assert.Contains(t, line, ":"+port(address)+" "+executable(t)+"["+strconv.Itoa(os.Getpid())+"]")
	http.DefaultClient.CloseIdleConnections()
	w.until(" close ", "client_fin")
	w.end()
}

func TestWatchFailed(t *testing.T) {
	s := serve(t)
	address := s.Listener.Addr().String()
	w := startWatch(t, "-port", port(address), "-http", port(address), "-json", "-failed")
	// Only the broken request is a failure.
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			for _, path := range []string{"/answered", "/broken"} {
				if answer, err := http.Get(s.URL + path); err == nil {
					answer.Body.Close()
				}
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	line := w.until("/broken")
	close(stop)
	<-ended
	var event struct {
		Event      string
		Attributes map[string]any
	}
	require.NoError(t, json.Unmarshal([]byte(line), &event))
	assert.Equal(t, "tcp.server.http.request", event.Event)
	assert.InDelta(t, 500, event.Attributes["http.response.status_code"], 0)
	assert.NotContains(t, line, "/answered")
	w.end()
}

// TestWatchWithoutReader ends when nobody reads the output, and leaves nothing behind.
func TestWatchWithoutReader(t *testing.T) {
	s := serve(t)
	address := s.Listener.Addr().String()
	w := startWatch(t, "-port", port(address))
	w.ready(address)
	require.NoError(t, w.out.Close())
	for code := -1; code < 0; {
		select {
		case code = <-w.done:
			assert.Equal(t, exitOK, code, w.errs.String())
		default:
			c, err := net.Dial("tcp", address)
			require.NoError(t, err)
			c.Close()
		}
	}
}

func TestTopOnce(t *testing.T) {
	s := serve(t)
	address := s.Listener.Addr().String()
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if answer, err := http.Get(s.URL + "/top"); err == nil {
				answer.Body.Close()
			}
		}
	}()
	var out, errs strings.Builder
	code := run(t.Context(), []string{"top", "-once", "-for", "3s", "-port", port(address), "-http", port(address)}, &out, &errs)
	close(stop)
	<-ended
	require.Equal(t, exitOK, code, errs.String())
	assert.Regexp(t, `SERVICES\nPORT .*\n`+port(address)+` +`+executable(t)+` +\d+ `, out.String())
	assert.Regexp(t, `REQUESTS\nPORT .*\n`+port(address)+` .* GET /top\n`, out.String())
	assert.Regexp(t, `HOOKS\n(.*\n)*[a-z_]+/inet_sock_set_state +attached\n`, out.String())
}

// executable is the name that the kernel has for this process: at most 15 bytes.
func executable(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return path[strings.LastIndex(path, "/")+1:]
}
