#!/bin/sh
# Tells Snakemake of a Grid Engine job: running, success or failed. An ended job may be in no list for some seconds.
for turn in 1 2 3 4 5 6; do
    if qstat -j "$1" >/dev/null 2>&1; then
        echo running
        exit
    fi
    if ended=$(qacct -j "$1" 2>/dev/null); then
        echo "$ended" | awk '$1 == "failed" || $1 == "exit_status" { bad += $2 != 0 } END { print bad ? "failed" : "success" }'
        exit
    fi
    sleep 5
done
echo failed
