#!/usr/bin/env bash
# What became of a submitted job: running, success or failed. For SLURM, as an example to copy; it asks the controller,
# which remembers a job for some minutes after its end.
told=$(scontrol show job --oneliner "$1" 2>&1) || {
    # a controller that does not answer says nothing about the job
    case $told in *"Invalid job id"*) echo failed ;; *) echo running ;; esac
    exit
}
case $(grep -o 'JobState=[A-Z_]*' <<<"$told") in
*=COMPLETED) echo success ;;
*=PENDING | *=CONFIGURING | *=RUNNING | *=COMPLETING | *=SUSPENDED | *=REQUEUED) echo running ;;
*) echo failed ;;
esac
