// Parses one page over and over with the parsers that Go programs use, and prints what each does in MB/s.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
	"unsafe"

	"github.com/VictoriaMetrics/VictoriaMetrics/lib/protoparser/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

// A parser reads the page once and returns the number of samples.
type parser struct {
	name  string
	parse func(page []byte) (int, error)
}

// VictoriaMetrics reads in place too, and keeps its buffers.
func victoriaMetrics(page []byte) (int, error) {
	text := unsafe.String(unsafe.SliceData(page), len(page))
	rows.UnmarshalWithErrLogger(text, nil)
	return len(rows.Rows), nil
}

var rows prometheus.Rows

func promParser(page []byte) (int, error) {
	samples := 0
	var series labels.Labels
	parser := textparse.NewPromParser(page, labels.NewSymbolTable(), false)
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return samples, nil
		}
		if err != nil {
			return samples, err
		}
		if entry == textparse.EntrySeries {
			parser.Labels(&series)
			samples++
		}
	}
}

func expfmtParser(page []byte) (int, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	samples := 0
	for _, family := range families {
		samples += len(family.Metric)
	}
	return samples, err
}

// median runs work in short batches for two seconds and returns how long it takes in seconds, by the median of the batches: most of
// them run through, whatever else the machine does.
func median(work func()) float64 {
	times := 1
	for batch(work, times) < 200*time.Microsecond {
		times *= 2
	}
	var batches []time.Duration
	for started := time.Now(); time.Since(started) < 2*time.Second; {
		batches = append(batches, batch(work, times))
	}
	slices.Sort(batches)
	return batches[len(batches)/2].Seconds() / float64(times)
}

func batch(work func(), times int) time.Duration {
	started := time.Now()
	for range times {
		work()
	}
	return time.Since(started)
}

func main() {
	page, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, p := range []parser{
		{"VictoriaMetrics", victoriaMetrics},
		{"PromParser", promParser},
		{"expfmt", expfmtParser},
	} {
		samples, err := p.parse(page)
		if err != nil || samples == 0 {
			fmt.Fprintf(os.Stderr, "%s: %d samples, %v\n", p.name, samples, err)
			os.Exit(1)
		}
		seconds := median(func() { p.parse(page) })
		fmt.Printf("%s\t%.3f\tMB/s\n", p.name, float64(len(page))/seconds/1e6)
	}
}
