"""What if: with so many GPUs, with other batches, with more load, with a law that is wrong?"""
