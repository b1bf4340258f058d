// Linked with every object of model/ and nothing else: it builds only if the model needs nothing.
int main() {}
