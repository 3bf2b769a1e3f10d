from ternary_spike.cli import main

main()
