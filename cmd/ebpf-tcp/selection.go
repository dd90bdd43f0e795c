// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/ebpftcp/ebpftcpreceiver/internal/cleanlog"
)

// selection is what the receiver is asked for. All commands that run it have these flags.
type selection struct {
	ports, clients, http, tls string
	findings                  bool
}

func (s *selection) define(flags *flag.FlagSet) {
	flags.StringVar(&s.ports, "port", "", "only these local `ports`: numbers and ranges, such as 22,8000-8100")
	flags.StringVar(&s.clients, "client", "", "only clients of these `networks` or addresses, such as 10.0.0.0/8")
	flags.StringVar(&s.http, "http", "", "show requests of these `ports` (HTTP/1, clear-text HTTP/2, gRPC)")
	flags.StringVar(&s.tls, "tls", "", "show TLS handshakes of these `ports`")
	flags.BoolVar(&s.findings, "findings", true, "count per source, and show who attacks")
}

// parse is flags.Parse, which prints what is wrong, for commands without arguments. It returns the
// exit code if the command ends here.
func parse(flags *flag.FlagSet, args []string) (code int, ends bool) {
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK, true
	case err != nil:
		return exitUsage, true
	case flags.NArg() > 0:
		fmt.Fprintf(flags.Output(), "%s: unexpected argument %q\n", flags.Name(), flags.Arg(0))
		return exitUsage, true
	}
	return exitOK, false
}

// receiver is the receiver's configuration.
func (s *selection) receiver() map[string]any {
	return map[string]any{
		"ports":   map[string]any{"include": list(s.ports)},
		"clients": map[string]any{"include": list(s.clients)},
		"inspect": map[string]any{
			"http": map[string]any{"ports": list(s.http)},
			"tls":  map[string]any{"ports": list(s.tls)},
		},
		"sources": map[string]any{"enabled": s.findings},
		"events":  map[string]any{"tcp.server.connection.open": map[string]any{"enabled": true}},
		// People see each event at once.
		"batch": map[string]any{"max_age": "20ms"},
	}
}

// list splits at commas. An empty text is an empty list.
func list(text string) []any {
	all := []any{}
	for one := range strings.SplitSeq(text, ",") {
		if one = strings.TrimSpace(one); one != "" {
			all = append(all, one)
		}
	}
	return all
}

// newLogger writes the receiver's warnings for people.
func newLogger(to io.Writer) *zap.Logger {
	encoder := zapcore.NewConsoleEncoder(zapcore.EncoderConfig{
		MessageKey: "message", LevelKey: "level", EncodeLevel: zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.StringDurationEncoder,
	})
	return cleanlog.Logger(zap.New(zapcore.NewCore(encoder, zapcore.AddSync(to), zapcore.WarnLevel)))
}
