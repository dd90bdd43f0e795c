// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// WebConfiguration is what differs between one nginx and another.
type WebConfiguration struct {
	// Main are directives outside all blocks, HTTP those within http: servers.
	Main, HTTP string
	// Connections is how many each of its processes may have.
	Connections int
	// Port is one of those that it listens on.
	Port int
	// Prefix are words of the command before nginx, such as those of taskset.
	Prefix []string
}

// WebServer is a running nginx.
type WebServer struct {
	*Process
	folder string
}

// StartWebServer runs nginx and waits until it listens.
func StartWebServer(ctx context.Context, in Namespace, c WebConfiguration) (*WebServer, error) {
	folder, err := os.MkdirTemp("", "ebpf-tcp-lab-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for nginx: %w", err)
	}
	w := &WebServer{folder: folder}
	if err := w.launch(ctx, in, c); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

const nginxConfiguration = `
daemon off;
pid %[1]s/pid;
error_log stderr warn;
%[2]s
events { worker_connections %[3]d; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
%[4]s
}
`

func (w *WebServer) launch(ctx context.Context, in Namespace, c WebConfiguration) (err error) {
	path := filepath.Join(w.folder, "nginx.conf")
	text := fmt.Sprintf(nginxConfiguration, w.folder, c.Main, c.Connections, c.HTTP)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("configure nginx: %w", err)
	}
	words := append(append([]string{}, c.Prefix...), "nginx", "-p", w.folder, "-c", path, "-e", "stderr")
	if w.Process, err = Start(in.Command(words[0], words[1:]...)); err != nil {
		return err
	}
	w.Name = "nginx"
	return w.Wait(ctx, "listening", func() (bool, error) {
		listeners, err := in.Run(ctx, "ss", "-Hltn")
		return strings.Contains(listeners, fmt.Sprintf(":%d ", c.Port)), err
	})
}

// Close stops nginx. It may be called again.
func (w *WebServer) Close() error {
	var err error
	if w.Process != nil {
		err = w.Stop(syscall.SIGTERM)
	}
	return errors.Join(err, os.RemoveAll(w.folder))
}
