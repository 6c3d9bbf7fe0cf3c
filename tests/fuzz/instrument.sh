#!/bin/sh
# As RUSTC_WRAPPER: counts branches in what is fuzzed, and in nothing else. These are the flags that
# cargo-fuzz passes, but for the sanitizer, which would want a nightly compiler.
rustc=$1
shift
case " $* " in
*" --crate-name leasehold "* | *" --crate-name fuzz "* | *" --crate-name serde_saphyr "*)
	exec "$rustc" "$@" -Ccodegen-units=1 -Cpasses=sancov-module \
		-Cllvm-args=-sanitizer-coverage-level=4 \
		-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
		-Cllvm-args=-sanitizer-coverage-pc-table \
		-Cllvm-args=-sanitizer-coverage-trace-compares
	;;
*) exec "$rustc" "$@" ;;
esac
