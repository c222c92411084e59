"""What a failure means: the errno of a refused request, and whether one whose reply was lost was done."""
