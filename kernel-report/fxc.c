// Compiles the HLSL files that `kernel-report --fxc=FOLDER` wrote with Microsoft's older compiler: fxc.exe LIBRARY FOLDER. A program for Windows.
#include <windows.h>
#include <d3dcommon.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef HRESULT(WINAPI *Compile)(const void *, SIZE_T, const char *, const void *, void *, const char *, const char *, UINT, UINT, ID3DBlob **, ID3DBlob **);

static char *whole(const char *path, long *size) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    *size = ftell(file);
    rewind(file);
    char *text = malloc(*size + 1);
    *size = text ? (long)fread(text, 1, *size, file) : 0;
    if (text) text[*size] = 0;
    fclose(file);
    return text;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    HMODULE library = LoadLibraryA(argv[1]);
    Compile compile = library ? (Compile)(void *)GetProcAddress(library, "D3DCompile") : NULL;
    if (!compile) { fprintf(stderr, "%s cannot be loaded: %lu\n", argv[1], GetLastError()); return 2; }

    char path[1024], slowest[512] = "";
    int good = 0, bad = 0;
    DWORD most = 0;
    long size;
    snprintf(path, sizeof path, "%s/list.tsv", argv[2]);
    for (char *line = whole(path, &size), *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = 0;
        char *name = line, *field[4] = {0};
        for (int at = 0; at < 4 && name; at++) {
            field[at] = name;
            name = strchr(name, '\t');
            if (name) *name++ = 0;
        }
        if (!field[3]) return 2;
        snprintf(path, sizeof path, "%s/%s", argv[2], field[0]);
        char *text = whole(path, &size);
        ID3DBlob *code = NULL, *told = NULL;
        const DWORD start = GetTickCount();
        // As wgpu calls it: strict, and nothing else.
        const HRESULT status = text ? compile(text, size, NULL, NULL, NULL, field[1], "cs_5_1", 1 << 11, 0, &code, &told) : E_FAIL;
        const DWORD took = GetTickCount() - start;
        if (took > most) { most = took; snprintf(slowest, sizeof slowest, "%s", field[3]); }
        if (SUCCEEDED(status) && code) { good++; } else {
            bad++;
            printf("%s: %s\n", field[3], told ? (char *)told->lpVtbl->GetBufferPointer(told) : "no reason was given");
        }
        if (code) code->lpVtbl->Release(code);
        if (told) told->lpVtbl->Release(told);
        free(text);
    }
    printf("FXC compiled %d variants and refused %d; the slowest took %.1f s: %s\n", good, bad, most / 1000.0, slowest);
    return good > 0 && bad == 0 ? 0 : 1;
}
