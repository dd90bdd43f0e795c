// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// playWeb is a server behind a gateway: /socket leaves HTTP, /events is a stream of events,
// everything else answers with its path.
func playWeb(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/socket", func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(conn, buffered)
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			time.Sleep(50 * time.Millisecond)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Id", r.URL.Path)
		_, _ = io.WriteString(w, r.URL.Path)
	})
	server := &http.Server{Handler: mux}
	go func() {
		_ = server.Serve(listener)
	}()
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// playDrip sends a number of requests for PREFIX0, PREFIX1 … in segments of one byte.
func playDrip(address, prefix, number string) error {
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	from := bufio.NewReader(conn)
	for i := range n {
		for _, b := range []byte(fmt.Sprintf("GET %s%d HTTP/1.1\r\nHost: drip\r\n\r\n", prefix, i)) {
			if _, err := conn.Write([]byte{b}); err != nil {
				return err
			}
		}
		answer, err := http.ReadResponse(from, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			return err
		}
		if answer.StatusCode != http.StatusOK {
			return errors.New(answer.Status)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(n)
}

// playSocket asks to leave HTTP, and then sends what looks like requests, which come back.
func playSocket(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	from := bufio.NewReader(conn)
	answer, err := http.ReadResponse(from, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return errors.New(answer.Status)
	}
	const message = "GET /not-a-request HTTP/1.1\r\n\r\n"
	for range 100 {
		if _, err := io.WriteString(conn, message); err != nil {
			return err
		}
		if _, err := io.ReadFull(from, make([]byte, len(message))); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(answer.StatusCode)
}
