// Reads PromQL, an expression a line, and says which of them are none.
package main

import (
	"bufio"
	"fmt"
	"os"

	"github.com/prometheus/prometheus/promql/parser"
)

func main() {
	wrong := false
	reader := parser.NewParser(parser.Options{})
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if _, err := reader.ParseExpr(lines.Text()); err != nil {
			fmt.Printf("%s: %v\n", lines.Text(), err)
			wrong = true
		}
	}
	if wrong {
		os.Exit(1)
	}
}
