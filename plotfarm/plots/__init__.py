"""What a plot file is: its name, its header, its size, and whether it is whole."""
